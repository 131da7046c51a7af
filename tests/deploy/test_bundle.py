import hashlib
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from deploy.bundle import Accuracy, Layer, Manifest, ModelFile, Parity, open_bundle, sha256_of, write_manifest
from deploy.errors import BundleError


def edit(folder, change):
    """Change what the manifest says, and let its hash of itself hold."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    text = json.dumps({**manifest, "manifest_sha256": "0" * 64})
    path.write_text(text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest()))


def test_bundle_reads_back_as_it_was_written(tmp_path, mean_model, manifest_for):
    folder = mean_model("b/fp32.onnx").parent
    entry = manifest_for(folder, {"fp32": "fp32.onnx"}).precisions["fp32"]
    entry = entry.model_copy(
        update={
            "parity": Parity(frames=6, max_abs_diff=1e-6, agreement=1.0, accuracy=0.6, executed="fp32"),
            "accuracy": Accuracy(overall=0.6, by_snr={"-20": 0.1, "18": 0.9}, sensitivity_db=None),
            "float_layers": ("to_logits",),
            "layers": (
                Layer(name="to_logits", op="MatMul", macs=6, bytes_in=8, bytes_out=12, bytes_weights=24),
                Layer(name="", op="Loop", macs=None, bytes_in=None, bytes_out=None, bytes_weights=None),
            ),
        }
    )
    manifest = manifest_for(
        folder, {"fp32": "fp32.onnx"}, precisions={"fp32": entry}, plan={"dropped": ["conv1", 0.5, None]}
    )
    assert write_manifest(folder, manifest) == folder / "manifest.json"
    bundle = open_bundle(folder)
    # All but the hash, which is of the text that was written.
    assert bundle.manifest.model_copy(update={"manifest_sha256": manifest.manifest_sha256}) == manifest
    assert bundle.path_of("fp32") == folder / "fp32.onnx"
    assert sorted(path.name for path in folder.iterdir()) == ["fp32.onnx", "manifest.json"]


def test_manifest_has_the_keys_that_others_read(bundle_folder):
    manifest = json.loads((bundle_folder() / "manifest.json").read_text())
    assert manifest["schema"] == 1
    assert list(manifest) == [
        *("schema", "model", "plan", "classes", "input", "precisions", "reference", "trtexec", "versions"),
        "manifest_sha256",
    ]
    assert manifest["input"] == {
        "shape": [2, 32],
        "layout": "batch, iq, length",
        "dtype": "float32",
        "sample_rate_hz": None,
        "scaling": "none",
    }
    entry = manifest["precisions"]["fp32"]
    assert list(entry) == [
        *("file", "bytes", "sha256", "params", "macs", "float_layers", "parity", "accuracy", "layers")
    ]
    assert list(manifest["reference"]) == ["file", "bytes", "sha256", "frames"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_byte_in_any_file_is_found(bundle_folder, data):
    folder = bundle_folder()
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(BundleError):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("file", "told"), [("fp32.onnx", r"precisions\.fp32: fp32\.onnx"), ("reference.npz", r"reference: reference\.npz")]
)
def test_altered_file_is_named(bundle_folder, file, told):
    path = bundle_folder() / file
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"{told}: was altered: SHA-256 [0-9a-f]{{12}}…, expected [0-9a-f]{{12}}…"):
        open_bundle(path.parent)


@pytest.mark.parametrize(
    "alter",
    [
        # To a reader of text and to a reader of JSON these are the same.
        lambda text: text.replace(b"\n", b"\r", 1),
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text + b"\n",
        lambda text: json.dumps(json.loads(text)).encode(),
        # What is said differs, and can be.
        lambda text: text.replace(b'"BPSK"', b'"QPSK"').replace(b'"QPSK",\n    "16QAM"', b'"BPSK",\n    "16QAM"'),
        lambda text: text.replace(b'"params": 6', b'"params": 7'),
        lambda text: text[: text.index(b',\n  "manifest_sha256"')] + b"\n}\n",
    ],
)
def test_altered_manifest_is_found(bundle_folder, alter):
    path = bundle_folder() / "manifest.json"
    text = path.read_bytes()
    assert alter(text) != text
    path.write_bytes(alter(text))
    with pytest.raises(BundleError, match="its text has another SHA-256 than it says itself; copy the bundle again"):
        open_bundle(path.parent)


def test_hash_of_the_manifest_by_hand(bundle_folder):
    text = (bundle_folder() / "manifest.json").read_text()
    said = json.loads(text)["manifest_sha256"]
    assert text.count(said) == 1
    assert hashlib.sha256(text.replace(said, "0" * 64).encode()).hexdigest() == said


def test_manifest_that_quotes_a_hash_of_zeros_still_opens(bundle_folder):
    zeros = "0" * 64
    folder = bundle_folder(plan={"from": zeros}, versions={"thinwave": zeros})
    assert open_bundle(folder).manifest.versions == {"thinwave": zeros}


def test_names_outside_ascii_are_hashed_as_they_are_written(bundle_folder):
    folder = bundle_folder(plan={"note": "π/4-DQPSK, ü"})
    assert "π/4-DQPSK, ü" in (folder / "manifest.json").read_text(encoding="utf-8")
    assert open_bundle(folder).manifest.plan == {"note": "π/4-DQPSK, ü"}


def test_file_cut_short_is_found(bundle_folder):
    folder = bundle_folder()
    path = folder / "fp32.onnx"
    size_bytes = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=f"has {size_bytes - 1} bytes, expected {size_bytes}"):
        open_bundle(folder)


def test_file_that_is_missing_is_named(bundle_folder):
    folder = bundle_folder()
    (folder / "fp32.onnx").unlink()
    with pytest.raises(BundleError, match=r"fp32\.onnx: is not there"):
        open_bundle(folder)


@pytest.mark.parametrize("file", ["../outside.onnx", "{absolute}", "sub/../../outside.onnx", "link.onnx"])
def test_path_that_leads_out_of_the_bundle_is_refused(tmp_path, bundle_folder, file):
    folder = bundle_folder()
    outside = tmp_path / "outside.onnx"
    outside.write_bytes((folder / "fp32.onnx").read_bytes())
    (folder / "sub").mkdir()
    (folder / "link.onnx").symlink_to(outside)
    edit(folder, lambda m: m["precisions"]["fp32"].update(file=file.format(absolute=outside)))
    with pytest.raises(BundleError, match="leads out of the bundle"):
        open_bundle(folder)


@pytest.mark.parametrize("file", ["a\0b", "a" * 5000, "loop"])
def test_name_that_no_file_can_have_is_refused(bundle_folder, file):
    folder = bundle_folder()
    (folder / "loop").symlink_to("loop")
    edit(folder, lambda m: m["precisions"]["fp32"].update(file=file))
    with pytest.raises(BundleError, match="the files are not those of the manifest"):
        open_bundle(folder)


def test_folder_named_as_a_file_is_refused(bundle_folder):
    folder = bundle_folder()
    edit(folder, lambda m: m["precisions"]["fp32"].update(file="."))
    with pytest.raises(BundleError, match=r"precisions\.fp32: \.: is a folder, expected a file"):
        open_bundle(folder)


def test_pipe_in_place_of_a_file_is_not_waited_for(bundle_folder):
    folder = bundle_folder()
    (folder / "fp32.onnx").unlink()
    os.mkfifo(folder / "fp32.onnx")
    with pytest.raises(BundleError, match=r"fp32\.onnx: is a pipe, expected a file"):
        open_bundle(folder)


def test_all_damaged_files_are_told_at_once(tmp_path, mean_model, manifest_for):
    folder = mean_model("b/fp32.onnx").parent
    mean_model("b/int8.onnx", depth=2)
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx", "int8": "int8.onnx"}))
    for name in ("fp32.onnx", "int8.onnx"):
        (folder / name).write_bytes(b"")
    with pytest.raises(BundleError, match=r"(?s)precisions\.fp32: .*precisions\.int8: "):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("missing", "told"), [("nowhere", "there is no such folder"), ("empty", r"it holds no manifest\.json")]
)
def test_folder_without_a_manifest_is_no_bundle_and_how_one_is_made_is_said(tmp_path, missing, told):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        BundleError,
        match=rf"{missing}: no bundle here, {told}; `thinwave export MODEL --data FILE --out \S+` makes one$",
    ):
        open_bundle(tmp_path / missing)


def test_file_of_a_bundle_is_told_to_be_no_folder(bundle_folder):
    folder = bundle_folder()
    with pytest.raises(BundleError, match=rf"fp32\.onnx: is a file; give the bundle's folder, {folder}$"):
        open_bundle(folder / "fp32.onnx")


def test_file_of_no_bundle_is_told_to_be_no_folder(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"model\.pt: is a file, and a bundle is a folder; `thinwave export"):
        open_bundle(tmp_path / "model.pt")


def test_manifest_that_is_a_link_out_of_the_bundle_is_refused(bundle_folder):
    path = bundle_folder() / "manifest.json"
    outside = path.rename(path.parent.with_name("outside.json"))
    path.symlink_to(outside)
    with pytest.raises(BundleError, match=r"manifest\.json: leads out of the bundle"):
        open_bundle(path.parent)


@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "a pipe"), (os.mkdir, "a folder")])
def test_manifest_that_is_no_file_is_told(bundle_folder, make, kind):
    path = bundle_folder() / "manifest.json"
    path.unlink()
    make(path)
    with pytest.raises(BundleError, match=rf"manifest\.json: is {kind}, expected a file"):
        open_bundle(path.parent)


def test_manifest_beyond_any_size_is_refused_unread(bundle_folder):
    path = bundle_folder() / "manifest.json"
    os.truncate(path, 65 << 20)
    with pytest.raises(BundleError, match=r"manifest\.json: has 68157440 bytes, expected at most 67108864"):
        open_bundle(path.parent)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"schema": 1, "plan": ' + '{"a": ' * 100_000, '{"plan": ' * 960 + "1" + "}" * 960]
)
def test_manifest_that_is_nested_too_deeply_is_refused(bundle_folder, text):
    path = bundle_folder() / "manifest.json"
    path.write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        open_bundle(path.parent)


@pytest.mark.parametrize("depth", [100, 300, 900, 960, 990])
def test_plan_that_is_nested_deeply_gives_no_traceback(bundle_folder, depth):
    path = bundle_folder() / "manifest.json"
    text = path.read_text().replace('"plan": null', '"plan": ' + '{"a":' * depth + "1" + "}" * depth)
    path.write_text(text)
    # Its hash of itself no longer holds, where it is not refused before.
    with pytest.raises(BundleError, match=r"manifest\.json"):
        open_bundle(path.parent)


@pytest.mark.parametrize("schema", [2, 10**30])
def test_newer_schema_says_so(bundle_folder, schema):
    folder = bundle_folder()
    edit(folder, lambda m: m.update(schema=schema, something_new=1))
    with pytest.raises(
        BundleError, match=rf"this bundle is of schema {schema}, and this thinwave reads schema 1: .*upgrade[^\n]*$"
    ):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("2", '"2"'),
        (2.5, r"2\.5"),
        (True, "true"),
        (1.0, r"1\.0"),
        (0, "0"),
        (None, "null"),
        ([1], "that is no number"),
        ("x" * 9999, '"x{50}'),
    ],
)
def test_schema_that_no_thinwave_writes_is_told_in_one_sentence(bundle_folder, schema, said):
    folder = bundle_folder()
    edit(folder, lambda m: m.update(schema=schema, something_new=1))
    with pytest.raises(
        BundleError, match=rf"manifest\.json: this bundle is of schema {said}[^\n]*, and this thinwave reads schema 1"
    ) as told:
        open_bundle(folder)
    assert len(str(told.value)) < 500


def test_manifest_without_a_schema_is_told(bundle_folder):
    folder = bundle_folder()
    edit(folder, lambda m: m.pop("schema"))
    with pytest.raises(BundleError, match="this manifest names no schema, and this thinwave reads schema 1"):
        open_bundle(folder)


@pytest.mark.parametrize("text", ["{", "[]", "null", '"text"', "", "\ud800".encode("utf-8", "surrogatepass")])
def test_what_is_no_manifest_is_refused(bundle_folder, text):
    folder = bundle_folder()
    (folder / "manifest.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BundleError, match=r"manifest\.json"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(clases=m.pop("classes")), r'clases: unknown key, did you mean "classes"\?'),
        (lambda m: m["precisions"]["fp32"].update(byte=1), r'byte: unknown key, did you mean "bytes"\?'),
        (lambda m: m["precisions"].update(fp8=m["precisions"]["fp32"]), "fp8"),
        (lambda m: m["input"].update(shape=[1, 32]), r"input\.shape\.0"),
        (lambda m: m["input"].update(shape=[2, 0]), r"input\.shape\.1"),
        (lambda m: m["input"].update(dtype="float64"), r'input\.dtype: got "float64", expected'),
        (
            lambda m: m["precisions"]["fp32"].update(accuracy={"overall": 1.5}),
            r"accuracy\.overall: .*less than or equal",
        ),
        (lambda m: m["precisions"]["fp32"].update(params=float("nan")), "params"),
    ],
)
def test_mistake_in_the_manifest_is_told(bundle_folder, change, message):
    folder = bundle_folder()
    edit(folder, change)
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


def test_precision_that_the_bundle_does_not_hold_is_told(bundle_folder):
    with pytest.raises(BundleError, match="holds no int8 model; it holds: fp32"):
        open_bundle(bundle_folder()).path_of("int8")


def test_manifest_of_a_file_that_is_not_there_is_not_written(tmp_path, mean_model, manifest_for):
    folder = mean_model("b/fp32.onnx").parent
    manifest = manifest_for(folder, {"fp32": "fp32.onnx"})
    (folder / "fp32.onnx").unlink()
    with pytest.raises(BundleError, match="is not there"):
        write_manifest(folder, manifest)
    assert not list(folder.iterdir())


def test_manifest_that_does_not_fit_on_the_disk_leaves_the_one_before(tmp_path, small_disk, mean_model, manifest_for):
    folder = small_disk("64k") / "b"
    folder.mkdir()
    (folder / "fp32.onnx").write_bytes(mean_model().read_bytes())
    write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}))
    kept = (folder / "manifest.json").read_bytes()
    with pytest.raises(OSError, match="No space left on device"):
        write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}, plan={"long": "x" * 100_000}))
    assert (folder / "manifest.json").read_bytes() == kept
    assert open_bundle(folder).manifest.plan is None


def test_manifest_that_does_not_fit_on_the_disk_leaves_no_part_of_it(small_disk, mean_model, manifest_for):
    folder = small_disk("64k")
    (folder / "fp32.onnx").write_bytes(mean_model().read_bytes())
    with pytest.raises(OSError, match="No space left on device"):
        write_manifest(folder, manifest_for(folder, {"fp32": "fp32.onnx"}, plan={"long": "x" * 100_000}))
    assert [path.name for path in folder.iterdir()] == ["fp32.onnx"]


def test_manifest_is_frozen_and_refuses_what_is_not_known(bundle_folder):
    manifest = open_bundle(bundle_folder()).manifest
    with pytest.raises(ValidationError, match="frozen"):
        manifest.model = "other"
    with pytest.raises(ValidationError, match="extra"):
        Manifest(**manifest.model_dump(), author="me")
    with pytest.raises(ValidationError, match="sha256"):
        ModelFile(file="a", size_bytes=1, sha256="ABC", params=1, macs=1)


def test_sha256_by_hand(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
