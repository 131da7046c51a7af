import json
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.bundle import open_bundle
from toolchain.data import open_dataset, write_h5
from toolchain.errors import RunError
from toolchain.export_job import _replaced
from toolchain.models import ModelCard, create_model, save_model

CLASSES = ("8PSK", "AM-DSB", "BPSK", "GFSK", "WBFM")


@pytest.fixture(scope="module")
def frames_file(noise_set, tmp_path_factory):
    """400 frames of noise of 64 samples, 5 classes, 4 SNRs."""
    return noise_set(tmp_path_factory.mktemp("data") / "frames.h5", classes=CLASSES, length=64)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    model = create_model("resnet1d20", 5, 64, generator=torch.Generator().manual_seed(1))
    save_model(path, model, ModelCard(architecture="resnet1d20", classes=CLASSES, length=64))
    return path


def test_a_model_is_exported_and_the_device_takes_it(thinwave_here, trained, frames_file, tmp_path):
    out = tmp_path / "new" / "bundle"
    said = thinwave_here(
        "export", trained, "--data", frames_file, "--out", out, "--most-drop", "20", "--json", tmp_path / "e.json"
    )
    assert said.returncode == 0, said.stderr
    values = json.loads((tmp_path / "e.json").read_text())
    assert list(values["precisions"]) == ["fp32", "fp16", "int8"]
    assert values["precisions"]["fp32"]["bytes"] == (out / "fp32.onnx").stat().st_size
    # Wherever the line is broken.
    assert f"thinwave-devicecheck{out}" in "".join(said.stdout.split())
    checked = thinwave_here("check", out)
    assert checked.returncode == 0, checked.stderr
    # Made anew from the file that it holds, which names its classes itself.
    again = thinwave_here(
        "export", out / "fp32.onnx", "--data", frames_file, "--out", tmp_path / "b", "--precision", "fp32"
    )
    assert again.returncode == 0, again.stderr
    assert open_bundle(tmp_path / "b").manifest.classes == CLASSES


def test_a_bundle_that_is_there_is_written_over_only_where_asked(
    thinwave_here, refused_here, trained, frames_file, tmp_path
):
    words = ("export", trained, "--data", frames_file, "--out", tmp_path / "b", "--precision", "fp32")
    assert thinwave_here(*words).returncode == 0
    before = (tmp_path / "b" / "manifest.json").read_bytes()
    assert "holds a bundle already; name another folder, or write over it with --replace" in refused_here(*words)
    assert thinwave_here(*words, "--replace", "--reference", "20").returncode == 0
    assert (tmp_path / "b" / "manifest.json").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_what_is_no_bundle_is_not_written_over(refused_here, trained, frames_file, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    said = refused_here("export", trained, "--data", frames_file, "--out", tmp_path / "mine", "--replace")
    assert "is there, and is no bundle; name another folder" in said
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("own", ["model", "data", "other"])
def test_a_bundle_that_holds_what_is_read_or_anything_else_is_not_written_over(
    thinwave_here, refused_here, trained, frames_file, tmp_path, own
):
    out = tmp_path / "b"
    words = ("export", trained, "--data", frames_file, "--out", out, "--precision", "fp32")
    assert thinwave_here(*words).returncode == 0
    place = {"model": out / "m.safetensors", "data": out / "frames.h5", "other": out / "thesis.txt"}[own]
    place.write_bytes({"model": trained, "data": frames_file, "other": Path(__file__)}[own].read_bytes())
    model = place if own == "model" else trained
    data = place if own == "data" else frames_file
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    said = refused_here("export", model, "--data", data, "--out", out, "--precision", "fp32", "--replace")
    assert f"holds {place.name}" in said
    assert "so that nothing is lost" in said
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_stop_between_the_old_bundle_and_the_new_leaves_the_old_one(tmp_path, monkeypatch, error):
    out = tmp_path / "b"
    out.mkdir()
    (out / "manifest.json").write_text("old")
    real = Path.rename

    def stopped(self, target):
        if self.name == "new":
            raise error
        return real(self, target)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises((RunError, KeyboardInterrupt)), _replaced(out) as folder:
        (folder / "manifest.json").write_text("new")
    assert (out / "manifest.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_seed_draws_other_frames_of_the_split_that_the_model_remembers(thinwave_here, frames_file, tmp_path):
    model = tmp_path / "m.safetensors"
    words = ("--model", "resnet1d20", "--epochs", "1", "--seed", "3", "--out", model)
    assert thinwave_here("train", "--data", frames_file, *words).returncode == 0
    accuracies, frames = [], set()
    for seed in ("1", "2"):
        words = ("--reference", "20", "--precision", "fp32", "--seed", seed, "--out", tmp_path / seed)
        said = thinwave_here("export", model, "--data", frames_file, *words)
        assert said.returncode == 0, said.stderr
        accuracies.append(open_bundle(tmp_path / seed).manifest.precisions["fp32"].accuracy)
        frames.add((tmp_path / seed / "reference.npz").read_bytes())
    assert (len(frames), accuracies[0] == accuracies[1]) == (2, True)


def test_a_link_to_nothing_is_refused_before_the_work(refused_here, trained, frames_file, tmp_path):
    (tmp_path / "b").symlink_to(tmp_path / "nowhere" / "b")
    assert "is a link to nothing" in refused_here("export", trained, "--data", frames_file, "--out", tmp_path / "b")


def test_an_onnx_file_takes_no_weights_beside_it(refused_here, frames_file, tmp_path):
    said = refused_here(
        "export", tmp_path / "m.ONNX", "--weights", tmp_path / "w", "--model", "resnet1d20",
        "--data", frames_file, "--out", tmp_path / "b",
    )  # fmt: skip
    assert "an ONNX file holds its weights" in said


def test_a_failed_export_leaves_what_was_there_and_nothing_else(
    thinwave_here, refused_here, trained, frames_file, tmp_path
):
    words = ("export", trained, "--data", frames_file, "--out", tmp_path / "b")
    assert thinwave_here(*words, "--precision", "fp32").returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    # Weights that half precision does not hold.
    model = create_model("resnet1d20", 5, 64, generator=torch.Generator().manual_seed(1))
    model.head[2].bias.data += 1e6
    save_model(tmp_path / "large.safetensors", model, ModelCard(architecture="resnet1d20", classes=CLASSES, length=64))
    said = refused_here("export", tmp_path / "large.safetensors", *words[2:], "--replace", "--precision", "fp16")
    assert "holds values beyond 65504, the largest of fp16; leave fp16 out" in said
    assert {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "large.safetensors"]


def test_frames_of_another_length_are_refused(refused_here, trained, tmp_path):
    path = tmp_path / "short.h5"
    dataset = {"label": np.tile(np.arange(5), 20), "snr_db": np.zeros(100, np.float32), "classes": CLASSES}
    write_h5(path, iq=np.ones((100, 2, 32), np.float32), sample_rate_hz=None, made_by="ones", **dataset)
    assert open_dataset(path).length == 32
    said = refused_here("export", trained, "--data", path, "--out", tmp_path / "b")
    assert "its frames have 32 samples, and the model takes 64" in said
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--precision", "fp8"), "'fp8' is not one of fp32, fp16, int8"),
        (("--precision", ""), "'' is not one of fp32, fp16, int8"),
        (("--most-drop", "-1"), "-1.0 is not in the range"),
        (("--reference", "0"), "0 is not in the range"),
        (("--threads", "0"), "0 is not in the range"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(refused_here, trained, frames_file, tmp_path, words, message):
    assert message in refused_here("export", trained, "--data", frames_file, "--out", tmp_path / "b", *words)


def test_a_name_of_the_zoo_without_weights_is_refused(refused_here, frames_file, tmp_path):
    said = refused_here("export", "resnet1d20", "--data", frames_file, "--out", tmp_path / "b")
    assert "is an untrained model; expected its weights with --weights FILE" in said
