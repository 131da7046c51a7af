from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from deploy.frames.dataset import Dataset, from_memory
from toolchain.data.generator import PRESETS, generate
from toolchain.data.inspection import inspect_dataset
from toolchain.errors import ToolchainError
from toolchain.report.frames_figures import (
    class_file_name,
    overview,
    write_frames_figures,
)


@pytest.fixture(autouse=True)
def coarse(monkeypatch) -> None:
    """Pictures of a ninth of the dots: they are made in less time."""
    monkeypatch.setattr("toolchain.report.drawing.DOTS_PER_INCH", 40)


def make(classes, frames=8, snrs_db=(-2.0, 10.0), length=64, rate_hz=None, iq=None) -> Dataset:
    count = len(classes) * len(snrs_db) * frames
    drawn = np.random.default_rng(0).standard_normal((count, 2, length)).astype(np.float32)
    return Dataset(
        source="set.h5",
        format="test",
        classes=classes,
        labels=np.repeat(np.arange(len(classes)), len(snrs_db) * frames),
        snr_db=np.tile(np.repeat(snrs_db, frames), len(classes)),
        length=length,
        sample_rate_hz=rate_hz,
        read=from_memory(drawn if iq is None else iq),
    )


def test_every_class_has_a_file_and_progress_is_told(tmp_path):
    made = generate("rml2016a", frames_per_cell=10, snr_db=[0, 18], seed=1)
    kept = made.label < 4
    dataset = Dataset(
        source="made.h5", format="test", classes=PRESETS["rml2016a"].classes[:4], labels=made.label[kept],
        snr_db=made.snr_db[kept], length=128, sample_rate_hz=200e3, read=from_memory(made.iq[kept]),
    )  # fmt: skip
    calls = []
    inspection = inspect_dataset(dataset)
    written = write_frames_figures(
        tmp_path / "new" / "plots",
        dataset,
        inspection,
        progress=lambda done, total, note="": calls.append((done, total)),
    )
    classes = ["class-0-8PSK.png", "class-1-AM-DSB.png", "class-2-AM-SSB.png", "class-3-BPSK.png"]
    assert [path.name for path in written] == ["overview.png", "cells.png", "snr.png", *classes]
    assert calls == [(step, 7) for step in range(1, 8)]
    for path in written:
        picture = imread(path)
        assert min(picture.shape[:2]) > 70
        assert picture[..., :3].std() > 0.01
    again = write_frames_figures(tmp_path / "again", dataset, inspection)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]


def test_names_that_file_systems_and_fonts_dislike(tmp_path):
    classes = ("a/b", "A/B", "..", "$x^{$", "调制", "long " * 40, "CON", "é")
    dataset = make(classes, frames=2, snrs_db=(0.0,))
    written = write_frames_figures(tmp_path, dataset, inspect_dataset(dataset))
    names = [path.name for path in written]
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert len({name.lower() for name in names}) == len(names) == 2 + len(classes)
    assert all(name.isascii() and len(name) < 64 for name in names)


def test_file_names_by_hand():
    classes = [f"class {number}" for number in range(11)]
    assert class_file_name(classes, 3) == "class-03-class_3.png"
    assert class_file_name([".."], 0) == "class-0.png"


def test_odd_sets_are_drawn(tmp_path):
    silent = np.zeros((4, 2, 1), dtype=np.float32)
    for number, dataset in enumerate(
        [
            make(("a", "b"), frames=1, snrs_db=(0.0,), length=2),
            make(("a", "b"), frames=2, snrs_db=(0.0,), length=1, iq=silent),
            make(("QPSK", "b"), frames=3, snrs_db=(20.0,), length=400, rate_hz=1e6),
        ]
    ):
        assert len(write_frames_figures(tmp_path / str(number), dataset, inspect_dataset(dataset))) == 4


def test_set_without_frames_has_its_table_only(tmp_path):
    dataset = make(("a", "b"), frames=0)
    assert [path.name for path in write_frames_figures(tmp_path, dataset, inspect_dataset(dataset))] == ["cells.png"]


def test_pictures_of_other_classes_stay_and_are_named(tmp_path, caplog):
    for classes in (("a", "b", "c"), ("a", "d")):
        (tmp_path / "class-notes.png").write_bytes(b"the user's own")
        dataset = make(classes, frames=2, snrs_db=(0.0,))
        written = write_frames_figures(tmp_path, dataset, inspect_dataset(dataset))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith("are left as they were: class-1-b.png, class-2-c.png")
    assert {path.name for path in tmp_path.iterdir()} - {path.name for path in written} == {
        "class-1-b.png",
        "class-2-c.png",
        "class-notes.png",
    }


def test_folder_that_cannot_be_one_is_refused(tmp_path):
    dataset = make(("a",), frames=2)
    inspection = inspect_dataset(dataset)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nothing" / "there")
    for name in ("file", "link"):
        with pytest.raises(ToolchainError, match=f"{name}: is a file, or a link to nothing"):
            write_frames_figures(tmp_path / name, dataset, inspection)


def test_interrupted_drawing_leaves_whole_pictures(tmp_path):
    dataset = make(("a", "b"), frames=2)

    def stop(done, total, note=""):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_frames_figures(tmp_path, dataset, inspect_dataset(dataset), progress=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.png", "class-0-a.png", "overview.png"]
    for path in tmp_path.iterdir():
        imread(path)


def test_few_long_frames_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("toolchain.report.frames_figures.SAMPLES_OF_CELL", 3 * 5000)
    asked = []
    dataset = make(("QPSK",), frames=6, snrs_db=(20.0,), length=5000)
    inspection = inspect_dataset(dataset)
    whole = dataset.read

    def read(indices, out):
        asked.append(len(indices))
        return whole(indices, out)

    write_frames_figures(tmp_path, replace(dataset, read=read), inspection)
    assert set(asked) == {3}


def test_spectra_of_the_overview_have_one_range_and_named_axes():
    iq = np.random.default_rng(0).standard_normal((16, 2, 64)).astype(np.float32)
    iq[8:] = 1e-3 * iq[8:] + np.array([1, 0.5], dtype=np.float32)[:, None]  # a floor 50 dB lower
    dataset = make(("a", "b", "c"), snrs_db=(10.0,), rate_hz=1e6, iq=np.concatenate([iq, np.zeros_like(iq[:8])]))
    figure = overview(dataset, inspect_dataset(dataset), None)
    spectra = [axes for axes in figure.axes if axes.lines and axes.get_xlabel() == "kHz"]
    assert len(spectra) == 2
    assert len({axes.get_ylim() for axes in spectra}) == 1
    assert spectra[0].get_ylim()[0] < -45
    assert all(axes.get_ylabel() == "dB" for axes in spectra)
    assert "0 dB is white noise of the frames' power" in figure.get_suptitle()
