import dataclasses
import errno
import json

import pytest

from deploy.engines import Fingerprint, engine_for
from deploy.errors import BundleError, RuntimeRefusedError

FINGERPRINT = Fingerprint(
    runtime="tensorrt",
    version="10.3.0",
    platform="linux-aarch64",
    gpu="Orin, compute capability 8.7",
    onnx_sha256="ab" * 32,
    batches=(1, 8, 64),
)


@pytest.fixture(autouse=True)
def account(tmp_path, monkeypatch):
    """Let this account's list of what it built be one of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "bundle" / "fp32.onnx"
    path.parent.mkdir()
    path.write_bytes(b"onnx")
    return path


@pytest.fixture
def builder():
    """Make a builder of an engine that says which time it was built, and ``times``, where its timings were to be."""

    class Builder:
        def __init__(self):
            self.times = []

        def __call__(self, timings):
            self.times.append(timings)
            return f"engine {len(self.times)}".encode()

    return Builder()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_engine_is_kept_beside_the_model_with_what_it_belongs_to(model, builder):
    engine = engine_for(model, FINGERPRINT, builder)
    path = engine.path
    assert path.parent == model.parent / "engines"
    assert path.name == f"{FINGERPRINT.key}.engine"
    assert path.read_bytes() == engine.content == b"engine 1"
    said = json.loads(path.with_suffix(".json").read_text())
    assert said == {**dataclasses.asdict(FINGERPRINT), "batches": [1, 8, 64]}
    assert names(path.parent) == [path.with_suffix(suffix).name for suffix in (".engine", ".json")]


def test_engine_is_built_once(model, builder):
    first = engine_for(model, FINGERPRINT, builder)
    assert engine_for(model, FINGERPRINT, builder) == first
    assert len(builder.times) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"runtime": "tensorrt-rtx"},
        {"version": "10.3.1"},
        {"platform": "linux-x86_64"},
        {"gpu": "Orin, compute capability 8.6"},
        {"onnx_sha256": "ac" * 32},
        {"batches": (1, 7, 64)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_engine_of_another_fingerprint_is_built_beside(model, builder, change):
    first = engine_for(model, FINGERPRINT, builder)
    second = engine_for(model, dataclasses.replace(FINGERPRINT, **change), builder)
    assert (first.path.read_bytes(), second.path.read_bytes()) == (b"engine 1", b"engine 2")


def test_engine_that_came_with_the_bundle_is_built_again(model, builder, tmp_path, monkeypatch):
    path = engine_for(model, FINGERPRINT, builder).path
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another account"))
    assert engine_for(model, FINGERPRINT, builder).path == path
    assert path.read_bytes() == b"engine 2"


def test_engine_that_was_altered_is_built_again(model, builder):
    path = engine_for(model, FINGERPRINT, builder).path
    path.write_bytes(b"engine of somebody else")
    assert engine_for(model, FINGERPRINT, builder).content == b"engine 2"
    assert path.read_bytes() == b"engine 2"


def test_engine_of_another_model_that_this_account_built_is_built_again(model, builder):
    another = engine_for(model, dataclasses.replace(FINGERPRINT, onnx_sha256="ac" * 32), builder)
    path = engine_for(model, FINGERPRINT, builder).path
    path.write_bytes(another.content)
    assert engine_for(model, FINGERPRINT, builder).content == b"engine 3"
    assert path.read_bytes() == b"engine 3"


def test_copies_of_a_bundle_do_not_take_turns_in_building(model, builder, tmp_path):
    copy = tmp_path / "copy" / "fp32.onnx"
    copy.parent.mkdir()
    for path in (model, copy, model, copy):
        engine_for(path, FINGERPRINT, builder)
    assert len(builder.times) == 2


# The specification of XDG_CACHE_HOME: what is not absolute is to be ignored. Heeded, a bundle could bring a list of its own.
@pytest.mark.parametrize("cache", [None, "", "cache"])
def test_without_a_cache_folder_of_its_own_the_list_is_in_the_home(model, builder, tmp_path, monkeypatch, cache):
    monkeypatch.delenv("XDG_CACHE_HOME")
    if cache is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    engine_for(model, FINGERPRINT, builder)
    assert len(names(tmp_path / "home/.cache/thinwave/engines")) == 1


@pytest.mark.parametrize("exists", [True, False])
def test_link_in_the_place_of_the_folder_is_refused(model, builder, tmp_path, exists):
    victim = tmp_path / "victim"
    if exists:
        victim.mkdir()
    (model.parent / "engines").symlink_to(victim)
    with pytest.raises(BundleError, match=r"engines: is a link or no folder, and .*; remove it$"):
        engine_for(model, FINGERPRINT, builder)
    assert builder.times == []
    assert victim.exists() == exists
    assert not exists or names(victim) == []


@pytest.mark.parametrize(
    "name", ["KEY.engine", "KEY.json", ".KEY.engine.unfinished", ".KEY.json.unfinished", "timing.cache"]
)
def test_nothing_is_written_or_read_through_a_link_in_the_folder(model, tmp_path, name):
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    (model.parent / "engines").mkdir()
    (model.parent / "engines" / name.replace("KEY", FINGERPRINT.key)).symlink_to(precious)

    def build(timings):
        assert not timings.exists()
        timings.write_bytes(b"timings")
        return b"engine"

    engine = engine_for(model, FINGERPRINT, build)
    assert precious.read_text() == "precious"
    assert (engine.content, engine.path.read_bytes()) == (b"engine", b"engine")
    assert not engine.path.is_symlink()


def test_timings_are_kept_by_the_account_for_the_next_build(model, tmp_path):
    found = []

    def build(timings):
        found.append(timings.read_bytes() if timings.exists() else None)
        timings.write_bytes(f"timings {len(found)}".encode())
        return b"engine"

    for change in ({}, {"onnx_sha256": "ac" * 32}, {"batches": (1, 7, 64)}, {"version": "10.3.1"}, {"gpu": "Thor"}):
        engine_for(model, dataclasses.replace(FINGERPRINT, **change), build)
    # Those of another version, and of another GPU, are others.
    assert found == [None, b"timings 1", b"timings 2", None, None]
    assert {path.suffix for path in (model.parent / "engines").iterdir()} == {".engine", ".json"}
    assert len(list((tmp_path / "cache").rglob("*.timings"))) == 3


def test_timings_that_make_the_build_fail_are_left_out_and_replaced(model, tmp_path):
    def build(timings):
        if timings.exists() and timings.read_bytes() == b"damaged":
            raise RuntimeRefusedError("cannot deserialise this")
        timings.write_bytes(b"good")
        return b"engine"

    engine_for(model, FINGERPRINT, build)
    (kept,) = (tmp_path / "cache").rglob("*.timings")
    kept.write_bytes(b"damaged")
    assert engine_for(model, dataclasses.replace(FINGERPRINT, batches=(1, 7, 64)), build).content == b"engine"
    assert kept.read_bytes() == b"good"


def test_timings_that_cannot_be_kept_cost_no_engine(model, tmp_path):
    def build(timings):
        timings.write_bytes(b"timings")
        return b"engine"

    kept = tmp_path / "cache/thinwave/engines" / f"{FINGERPRINT.timings_key}.timings"
    kept.mkdir(parents=True)
    assert engine_for(model, FINGERPRINT, build).path.read_bytes() == b"engine"
    assert not any(path.name.startswith(".") for path in kept.parent.iterdir())


def test_build_that_is_refused_leaves_what_was_there(model, builder):
    def refuse(_timings):
        raise RuntimeRefusedError("no")

    with pytest.raises(RuntimeRefusedError):
        engine_for(model, FINGERPRINT, refuse)
    assert names(model.parent / "engines") == []
    assert model.read_bytes() == b"onnx"


def test_full_disk_leaves_no_half_engine(small_disk, builder):
    folder = small_disk("256k")
    (folder / "fp32.onnx").write_bytes(b"onnx")
    with pytest.raises(
        BundleError, match="engines: the engine cannot be kept there: No space left on device; make room"
    ):
        engine_for(folder / "fp32.onnx", FINGERPRINT, lambda _timings: bytes(1 << 20))
    assert names(folder / "engines") == []
    assert (folder / "fp32.onnx").read_bytes() == b"onnx"
    # Room is made: a smaller engine goes where the larger one did not.
    assert engine_for(folder / "fp32.onnx", FINGERPRINT, builder).path.read_bytes() == b"engine 1"


def test_full_disk_leaves_the_engine_that_was_there(small_disk, builder, tmp_path, monkeypatch):
    folder = small_disk("256k")
    (folder / "fp32.onnx").write_bytes(b"onnx")
    path = engine_for(folder / "fp32.onnx", FINGERPRINT, builder).path
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another account"))
    with pytest.raises(BundleError, match="No space left on device"):
        engine_for(folder / "fp32.onnx", FINGERPRINT, lambda _timings: bytes(1 << 20))
    assert path.read_bytes() == b"engine 1"
    assert names(path.parent) == [path.with_suffix(suffix).name for suffix in (".engine", ".json")]


def test_build_that_is_interrupted_leaves_nothing(model, tmp_path):
    def interrupted(timings):
        timings.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine_for(model, FINGERPRINT, interrupted)
    assert names(model.parent / "engines") == names(tmp_path / "cache/thinwave/engines") == []


def test_file_in_the_place_of_the_folder_is_told(model, builder):
    (model.parent / "engines").write_text("a file")
    with pytest.raises(BundleError, match=r"engines: is a link or no folder, and .*; remove it$"):
        engine_for(model, FINGERPRINT, builder)
    assert builder.times == []


def test_cache_folder_that_cannot_be_made_is_told(model, builder, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(BundleError, match=r"cannot be noted there: .*; name another cache folder with XDG_CACHE_HOME"):
        engine_for(model, FINGERPRINT, builder)
    assert builder.times == []


def test_failure_of_the_disk_while_building_is_told(model):
    def fail(_timings):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(BundleError, match="Input/output error"):
        engine_for(model, FINGERPRINT, fail)
