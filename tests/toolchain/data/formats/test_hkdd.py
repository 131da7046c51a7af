from __future__ import annotations

import os
import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.frames.hdf5 import open_hdf5
from toolchain.data.formats import hkdd, matlab_frames
from toolchain.data.formats.hkdd import CLASSES, is_hkdd_folder, looks_like_hkdd, open_hkdd
from toolchain.errors import DatasetError

CELLS = 21 * 12


def frames_of(count, seed=5):
    return np.random.default_rng(seed).normal(size=(count, 2, 512)).astype("f4")


def published(iq):
    """Frames as HDF5 has the published array: (N, 1, 512, 2)."""
    return iq.transpose(0, 2, 1)[:, None]


def write(path: Path, array, /, userblock=512, options=None, **others) -> Path:
    with h5py.File(path, "w", userblock_size=userblock) as file:
        if array is not None:
            file.create_dataset("XTrainIQ", data=array, **(options or {}))
        for name, values in others.items():
            file[name] = values
    return path


def write_documented(path: Path, count: int) -> Path:
    """A file of the published size: each cell a chunk, each frame of it the cell's number, but for some of noise."""
    noise = np.random.default_rng(5).integers(-99, 99, (10, 1, 512, 2))
    with h5py.File(path, "w", userblock_size=512) as file:
        file["Feature"] = np.zeros((228, 3))
        chunk = (count, 1, 512, 2)
        array = file.create_dataset("XTrainIQ", (CELLS * count, 1, 512, 2), "<i2", chunks=chunk, compression=1)
        for cell in range(CELLS):
            content = np.full(chunk, cell, dtype="<i2")
            # Constants alone would compress beyond what is believed of signals.
            content[1:11] = noise
            array.id.write_direct_chunk((cell * count, 0, 0, 0), zlib.compress(content.tobytes(), 1))
    return path


@pytest.fixture
def few(monkeypatch):
    """Sets of the documented order with two frames a cell, and one in the test file."""
    monkeypatch.setattr(hkdd, "FRAMES_PER_CELL", (2, 1))


def everything(dataset):
    return dataset.frames(np.arange(len(dataset)))


def test_published_sizes_have_the_documented_order(tmp_path):
    dataset = open_hkdd(write_documented(tmp_path / "HKDD_AMC12_test.mat", 500))
    assert len(dataset) == 126_000
    assert (dataset.length, dataset.format, dataset.source) == (512, "hkdd", "HKDD_AMC12_test.mat")
    assert dataset.classes == CLASSES
    # By SNR, in it by class, in it 500 frames.
    for frame, name, snr_db in (
        (0, "BPSK", -20), (499, "BPSK", -20), (500, "QPSK", -20), (5_999, "8PAM", -20), (6_000, "BPSK", -18),
        (60_000 + 3_500, "16QAM", 0), (125_999, "8PAM", 20),
    ):  # fmt: skip
        assert (CLASSES[dataset.labels[frame]], dataset.snr_db[frame]) == (name, snr_db)
    asked = np.array([125_999, 0, 63_500])
    np.testing.assert_array_equal(dataset.frames(asked)[:, 1, 511], [251, 0, 127])
    assert dataset.own_test is None


@pytest.mark.usefixtures("few")
def test_folder_gives_both_files_and_which_is_the_test(tmp_path):
    train, test = frames_of(504), frames_of(252, seed=6)
    write(tmp_path / "HKDD_AMC12_train.mat", published(train))
    assert is_hkdd_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"it has only HKDD_AMC12_train\.mat: name that file to open it alone"):
        open_hkdd(tmp_path)
    write(tmp_path / "hkdd_amc12_TEST.mat", published(test))
    dataset = open_hkdd(tmp_path)
    assert dataset.source == tmp_path.name
    np.testing.assert_array_equal(dataset.own_test, np.arange(756) >= 504)
    np.testing.assert_array_equal(everything(dataset), np.concatenate([train, test]))
    np.testing.assert_array_equal(dataset.labels[504:], np.tile(np.arange(12), 21))
    np.testing.assert_array_equal(dataset.snr_db[504:], np.repeat(np.arange(-20, 21, 2), 12))
    np.testing.assert_array_equal(dataset.labels[:6], [0, 0, 1, 1, 2, 2])
    mixed = np.array([755, 0, 504, 503, 0])
    np.testing.assert_array_equal(dataset.frames(mixed), np.concatenate([train, test])[mixed])


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    "options", [{}, {"compression": "gzip", "shuffle": True, "chunks": True}], ids=["plain", "gzip"]
)
@pytest.mark.parametrize("axes", [(0, 3, 2, 1), (1, 2, 3, 0), (2, 0, 3, 1)], ids=str)
def test_axes_in_any_order_give_the_same_frames(axes, options, tmp_path, monkeypatch):
    monkeypatch.setattr(matlab_frames, "_PLANES_BYTES", 1 << 20)
    iq = frames_of(252)
    path = write(tmp_path / "a.mat", iq[..., None].astype("f8").transpose(axes), options=options)
    dataset = open_hkdd(path)
    np.testing.assert_array_equal(everything(dataset), iq)
    np.testing.assert_array_equal(dataset.frames([251, 3, 3, 100]), iq[[251, 3, 3, 100]])


@pytest.mark.usefixtures("few")
def test_reading_into_memory_tells_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(matlab_frames, "_PLANES_BYTES", 512 * 252 * 4)
    told = []
    path = write(tmp_path / "a.mat", frames_of(252).transpose(1, 2, 0))
    open_hkdd(path, progress=lambda done, total, note="": told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((251, 1, 512, 2), r"expected 2 x 512 x 504 or 252, in any order"),
        ((252, 512), r"expected 2 x 512 x 504 or 252"),
        ((252, 2, 2, 512), r"expected 2 x 512 x 504 or 252"),
        ((252, 1, 1024, 2), r"as of HKDD_AMC36"),
        ((0, 1, 512, 2), r"expected 2 x 512 x 504 or 252"),
    ],
)
def test_other_shapes_are_refused_by_their_sizes(shape, message, tmp_path):
    path = write(tmp_path / "a.mat", np.zeros(shape, "i1"))
    with pytest.raises(DatasetError, match=rf"^a\.mat: XTrainIQ has the shape .*{message}"):
        open_hkdd(path)


@pytest.mark.parametrize("count", [2, 512])
def test_axes_that_cannot_be_told_apart_are_refused(count, tmp_path):
    iq = np.zeros((count, 1, 512, 2), dtype="i1")
    path = write(tmp_path / "a.mat", iq, label=np.arange(count) % 2, snr_db=np.zeros(count))
    with pytest.raises(
        DatasetError, match=r"which axis is which cannot be told; expected 2 x 512 x the number of frames"
    ):
        open_hkdd(path)


def labelled(tmp_path, count=30, **others) -> Path:
    return write(tmp_path / "a.mat", published(frames_of(count)), **others)


@pytest.mark.parametrize(
    "label",
    [
        np.arange(30) % 12,
        (np.arange(30) % 12 + 1.0).reshape(1, 30),
        np.eye(12)[np.arange(30) % 12],
        np.eye(12)[np.arange(30) % 12].T,
        np.array([CLASSES[n % 12].lower().encode() for n in range(30)]),
    ],
    ids=["from 0", "from 1", "one-hot", "one-hot reversed", "names"],
)
def test_labels_and_snrs_in_the_file_are_taken(label, tmp_path):
    snr_db = np.linspace(-7, 9, 30)
    dataset = open_hkdd(labelled(tmp_path, Y=label, SNR=snr_db.reshape(30, 1)))
    np.testing.assert_array_equal(dataset.labels, np.arange(30) % 12)
    np.testing.assert_array_equal(dataset.snr_db, snr_db.astype("f4"))
    np.testing.assert_array_equal(everything(dataset), frames_of(30))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.arange(30) % 11 + 1, "counts from 1 to 11: whether from 0 or from 1 cannot be told"),
        (np.arange(30) % 13, "counts from 0 to 12: whether"),
        (np.arange(30), "holds other values"),
        (np.arange(29), r"has the shape \(29,\)"),
        (np.eye(12)[np.arange(30) % 12] * 2, "rows that are not one 1 and else 0"),
        (np.array([b"BPSK", b"CPFSK"] * 15), "holds other values"),
        (np.zeros(30, dtype=[("real", "<f8"), ("imag", "<f8")]), "expected one label a frame"),
    ],
)
def test_wrong_labels_in_the_file_are_refused(label, message, tmp_path):
    with pytest.raises(DatasetError, match=rf"^a\.mat: label .*{message}"):
        open_hkdd(labelled(tmp_path, label=label, snr_db=np.zeros(30)))


@pytest.mark.parametrize("snr", [np.full(30, np.nan), np.array([b"4"] * 30)])
def test_wrong_snrs_in_the_file_are_refused(snr, tmp_path):
    with pytest.raises(DatasetError, match=r"^a\.mat: snr_db holds .*expected one SNR in dB a frame"):
        open_hkdd(labelled(tmp_path, label=np.arange(30) % 12, snr_db=snr))


@pytest.mark.usefixtures("few")
def test_labels_alone_must_be_the_documented_order(tmp_path):
    order = np.tile(np.arange(12), 21)
    iq = published(frames_of(252))
    np.testing.assert_array_equal(open_hkdd(write(tmp_path / "a.mat", iq, label=order)).labels, order)
    with pytest.raises(DatasetError, match=r"label has 3 for frame 4, .* has 4: the frames were put in another order"):
        open_hkdd(write(tmp_path / "a.mat", iq, label=np.where(np.arange(252) == 4, 3, order)))
    with pytest.raises(DatasetError, match=r"snr_db has 0 for frame 0, .* has -20"):
        open_hkdd(write(tmp_path / "a.mat", iq, snr_db=np.zeros(252)))


def test_complex_frames_are_read(tmp_path):
    iq = frames_of(30)
    stored = np.empty((30, 512), dtype=[("real", "<f4"), ("imag", "<f4")])
    stored["real"], stored["imag"] = iq[:, 0], iq[:, 1]
    for array in (stored.T, stored[:, None]):
        path = write(tmp_path / "a.mat", array, label=np.arange(30) % 12, snr_db=np.zeros(30))
        np.testing.assert_array_equal(everything(open_hkdd(path)), iq)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"^a\.mat: has Feature; expected an array XTrainIQ"):
        open_hkdd(write(tmp_path / "a.mat", None, Feature=np.zeros(3)))
    with pytest.raises(DatasetError, match=r"^a\.mat: XTrainIQ holds \|S5; expected numbers"):
        open_hkdd(write(tmp_path / "a.mat", np.full((30, 1, 512, 2), b"x" * 5)))
    with pytest.raises(DatasetError, match="there is no such file"):
        open_hkdd(tmp_path / "none.mat")
    os.mkfifo(tmp_path / "pipe.mat")
    with pytest.raises(DatasetError, match="there is no such file"):
        open_hkdd(tmp_path / "pipe.mat")
    (tmp_path / "text.mat").write_text("no HDF5")
    with pytest.raises(DatasetError, match=r"^text\.mat: "):
        open_hkdd(tmp_path / "text.mat")
    assert not is_hkdd_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"expected HKDD_AMC12_train\.mat and HKDD_AMC12_test\.mat .* neither"):
        open_hkdd(tmp_path)


def test_array_that_does_not_fit_into_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(matlab_frames, "available_memory_bytes", lambda: 150_000)
    path = write(tmp_path / "a.mat", frames_of(30).transpose(1, 2, 0), label=np.arange(30) % 12, snr_db=np.zeros(30))
    with pytest.raises(DatasetError, match=r"shape \(2, 512, 30\) in the file, .*GiB of memory are free\. In MATLAB"):
        open_hkdd(path)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("axes", [(1, 2, 0), (0, 2, 1)], ids=str)
def test_frames_that_compress_a_hundredfold_are_refused_before_anything_is_read(axes, tmp_path, monkeypatch):
    monkeypatch.setattr("deploy.frames.hdf5_dataset.FREE_OF_RATIO_BYTES", 4_128_767)
    options = {"compression": "gzip", "chunks": (504, 512, 1) if axes[0] == 0 else (1, 512, 504)}
    zeros = np.zeros((504, 2, 512)).transpose(axes)
    path = write(tmp_path / "a.mat", zeros, options=options, label=np.zeros(504), snr_db=np.zeros(504))
    tracemalloc.start()
    try:
        with pytest.raises(
            DatasetError, match=r"^a\.mat: XTrainIQ claims 4128768 bytes out of \d+ in the file; .*without compression"
        ):
            open_hkdd(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_a_file_that_is_open_is_not_looked_into_again(tmp_path, monkeypatch):
    file = open_hdf5(labelled(tmp_path, label=np.arange(30) % 12, snr_db=np.zeros(30)))
    monkeypatch.setattr(hkdd, "open_hdf5", None)
    dataset = open_hkdd(file)
    assert dataset.source == "a.mat"
    np.testing.assert_array_equal(everything(dataset), frames_of(30))


def test_file_is_recognised_by_its_array(tmp_path):
    assert looks_like_hkdd(open_hdf5(write(tmp_path / "a.mat", np.zeros((3, 1, 512, 2)))))
    assert not looks_like_hkdd(open_hdf5(write(tmp_path / "a.mat", None, X=np.zeros(3))))


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_ends_in_frames_or_in_one_error(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    iq = frames_of(30)
    array = published(iq) if data.draw(st.booleans()) else iq.transpose(1, 2, 0)
    options = data.draw(st.sampled_from([{}, {"compression": "gzip", "chunks": True}]))
    path = write(folder / "a.mat", array, options=options, label=np.arange(30) % 12, snr_db=np.zeros(30))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        # Headers are at the start; the rest is frames.
        for _ in range(3):
            content[data.draw(st.integers(0, 6000))] = data.draw(st.integers(0, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path.write_bytes(content)
    message = "a.mat: "
    shape = iq.shape
    try:
        shape = everything(open_hkdd(path)).shape
    except DatasetError as error:
        message = str(error)
    assert message.startswith("a.mat: ")
    assert shape[1:] == (2, 512)
