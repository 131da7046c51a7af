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
    """Make a builder of an engine that says which time it was built, and ``times``, where the timings were kept."""

    class Builder:
        def __init__(self):
            self.times = []

        def __call__(self, timing_cache):
            self.times.append(timing_cache)
            return f"engine {len(self.times)}".encode()

    return Builder()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_engine_is_kept_beside_the_model_with_what_it_belongs_to(model, builder):
    path = engine_for(model, FINGERPRINT, builder)
    assert path.parent == model.parent / "engines"
    assert path.name == f"{FINGERPRINT.key}.engine"
    assert path.read_bytes() == b"engine 1"
    said = json.loads(path.with_suffix(".json").read_text())
    assert said == {**dataclasses.asdict(FINGERPRINT), "batches": [1, 8, 64]}
    assert names(path.parent) == [path.with_suffix(suffix).name for suffix in (".engine", ".json")]
    assert builder.times == [model.parent / "engines" / "timing.cache"]


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
    assert (first.read_bytes(), second.read_bytes()) == (b"engine 1", b"engine 2")


def test_engine_that_came_with_the_bundle_is_built_again(model, builder, tmp_path, monkeypatch):
    path = engine_for(model, FINGERPRINT, builder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another account"))
    assert engine_for(model, FINGERPRINT, builder) == path
    assert path.read_bytes() == b"engine 2"


def test_engine_that_was_altered_is_built_again(model, builder):
    path = engine_for(model, FINGERPRINT, builder)
    path.write_bytes(b"engine of somebody else")
    engine_for(model, FINGERPRINT, builder)
    assert path.read_bytes() == b"engine 2"


def test_without_a_cache_folder_of_its_own_the_list_is_in_the_home(model, builder, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    engine_for(model, FINGERPRINT, builder)
    assert len(names(tmp_path / "home/.cache/thinwave/engines")) == 1


def test_build_that_is_refused_leaves_what_was_there(model, builder):
    def refuse(_timing_cache):
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
        engine_for(folder / "fp32.onnx", FINGERPRINT, lambda _timing_cache: bytes(1 << 20))
    assert names(folder / "engines") == []
    assert (folder / "fp32.onnx").read_bytes() == b"onnx"
    # Room is made: a smaller engine goes where the larger one did not.
    assert engine_for(folder / "fp32.onnx", FINGERPRINT, builder).read_bytes() == b"engine 1"


def test_full_disk_leaves_the_engine_that_was_there(small_disk, builder, tmp_path, monkeypatch):
    folder = small_disk("256k")
    (folder / "fp32.onnx").write_bytes(b"onnx")
    path = engine_for(folder / "fp32.onnx", FINGERPRINT, builder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another account"))
    with pytest.raises(BundleError, match="No space left on device"):
        engine_for(folder / "fp32.onnx", FINGERPRINT, lambda _timing_cache: bytes(1 << 20))
    assert path.read_bytes() == b"engine 1"


def test_folder_that_cannot_be_made_is_told(model, builder):
    (model.parent / "engines").write_text("a file")
    with pytest.raises(BundleError, match=r"engines: the engine cannot be kept there: File exists; .* copy the bundle"):
        engine_for(model, FINGERPRINT, builder)
    assert builder.times == []


def test_failure_of_the_disk_while_building_is_told(model):
    def fail(_timing_cache):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(BundleError, match="Input/output error"):
        engine_for(model, FINGERPRINT, fail)
