from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from toolchain.data import convert_to_h5, open_dataset, verify_h5, write_h5
from toolchain.errors import DatasetError

CELLS = {(name, snr): np.ones((3, 2, 8), "f4") * snr for name in ("BPSK", "QPSK") for snr in (0, 2)}


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, iq=np.zeros(3))
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("set.pkl", pickle.dumps(CELLS))
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("set.pkl"), io.BytesIO())
    return file.getvalue()


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_is_known_by_its_content_whatever_its_name(protocol, tmp_path):
    path = tmp_path / "set.hdf5"
    path.write_bytes(pickle.dumps(CELLS, protocol))
    told = []
    dataset = open_dataset(path, progress=lambda done, total, note="": told.append(done))
    assert (dataset.format, len(dataset)) == ("rml2016", 12)
    assert told == [1, 2, 3, 4]


def test_own_format_is_known_by_its_content_whatever_its_name(tmp_path):
    path = tmp_path / "set.pkl"
    write_h5(
        path,
        iq=np.zeros((4, 2, 8), "f4"),
        label=np.array([0, 0, 1, 1]),
        snr_db=np.zeros(4, "f4"),
        classes=("a", "b"),
        sample_rate_hz=None,
        made_by="a test",
    )
    assert open_dataset(path).format == "thinwave-frames"


def test_same_frames_have_one_fingerprint_in_both_formats(tmp_path):
    pickled = tmp_path / "set.pkl"
    pickled.write_bytes(pickle.dumps(CELLS, 2))
    first = open_dataset(pickled)
    own = tmp_path / "set.h5"
    write_h5(
        own,
        iq=first.frames(np.arange(12)),
        label=first.labels,
        snr_db=first.snr_db,
        classes=first.classes,
        sample_rate_hz=None,
        made_by="a test",
    )
    assert open_dataset(own).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps([1, 2], 0),
        pickle.dumps([1, 2], 2),
        pickle.dumps((1, 2), 0),
        pickle.dumps((1, 2), 1),
        pickle.dumps({}, 0),
        pickle.dumps({}, 1),
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04",
    ],
)
def test_other_pickles_are_refused_as_pickles(content, tmp_path):
    path = tmp_path / "set.pkl"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="pickle"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (npz(), r"has no label"),
        (zipped(), "a zip archive.*Unpack it first"),
        (gzip.compress(pickle.dumps(CELLS)), "gzip.*Unpack it first"),
        (bz2.compress(pickle.dumps(CELLS)), "bzip2.*Unpack it first"),
        (lzma.compress(pickle.dumps(CELLS)), "xz.*Unpack it first"),
        (b"\x28\xb5\x2f\xfd....", "zstandard.*Unpack it first"),
        (tarred(), "a tar archive.*Unpack it first"),
        (b"7z\xbc\xaf\x27\x1c....", "7-Zip.*Unpack it first"),
        (b"Rar!\x1a\x07\x01\x00", "RAR.*Unpack it first"),
        (npy(), r"one array of numpy \(\.npy\)"),
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128), "a MATLAB file before v7.3"),
        (b"\x89PNG\r\n\x1a\n....", "a PNG picture"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"<!doctype html><title>Sign in", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"i,q,label\n0.1,0.2,BPSK\n", "text, starting 'i,q,label'"),
        ("größe\n".encode() + b"x" * 5000, "text, starting 'gr"),
        (b"\n\n", "text, starting ''"),
        (b'{"iq": []}', "text"),
        (b"(see the manual)", "text"),
        (b"\x00\x01\x02\x03" * 20, r"its first bytes are 00 01 02 03"),
        (b"\x80\x09....", "its first bytes are 80 09"),
    ],
)
def test_what_is_not_read_is_named(content, message, tmp_path):
    path = tmp_path / "set.pkl"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"set\.pkl: .*{message}") as caught:
        open_dataset(path)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize("user_block", [0, 512])
def test_hdf5_of_others_is_named_as_hdf5(user_block, tmp_path):
    path = tmp_path / "set.mat"
    with h5py.File(path, "w", userblock_size=user_block) as file:
        file["samples"] = np.zeros(3)
    with pytest.raises(DatasetError, match="an HDF5 file with 'samples', which is no set that is known"):
        open_dataset(path)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="there is no such file"):
        open_dataset(tmp_path / "none.pkl")
    with pytest.raises(DatasetError, match="a folder, and neither HisarMod's nor HKDD's"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="cannot be read"):
        open_dataset(tmp_path / "nul\0l")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatasetError, match="not a regular file"):
        open_dataset(tmp_path / "pipe")


def test_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "set.pkl"
    path.write_bytes(b"x")

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(DatasetError, match="cannot be read: Permission denied"):
        open_dataset(path)


def rml2018(folder):
    with h5py.File(folder / "a.bin", "w") as file:
        file["X"], file["Y"], file["Z"] = np.zeros((4, 8, 2), "f4"), np.eye(24, dtype="i8")[:4], np.zeros((4, 1), "i8")
    return folder / "a.bin"


def hkdd(folder):
    with h5py.File(folder / "a.bin", "w", userblock_size=512) as file:
        file["XTrainIQ"] = np.zeros((5, 512, 2), "f4")
        file["label"], file["snr"] = np.array([0, 1, 2, 3, 11]), np.array([0, 2, 4, 6, 8])
    return folder / "a.bin"


def hisarmod_csv(folder):
    row = ",".join(["0.5-1e-3i"] * 1024)
    (folder / "train_data.csv").write_text(f"{row}\n{row}\n")
    (folder / "train_labels.csv").write_text("0\n54\n")
    (folder / "train_snr.csv").write_text("-20\n18\n")
    return folder / "train_data.csv"


def npz_set(folder):
    with (folder / "a.bin").open("wb") as file:
        np.savez(
            file, iq=np.zeros((4, 2, 8), "f4"), label=[0, 1, 0, 1], snr_db=np.zeros(4), classes=np.array(["a", "b"])
        )
    return folder / "a.bin"


def sigmf(folder):
    np.zeros(2 * 64, "<f4").tofile(folder / "a.sigmf-data")
    annotations = [{"core:sample_start": 0, "core:sample_count": 64, "core:label": "QPSK", "snr_db": 3.0}]
    meta = {"global": {"core:datatype": "cf32_le", "core:version": "1.0.0"}, "captures": [{"core:sample_start": 0}]}
    (folder / "a.sigmf-meta").write_text(json.dumps({**meta, "annotations": annotations}))
    return folder / "a.sigmf-meta"


@pytest.mark.parametrize(
    ("make", "name", "frames", "length", "options"),
    [
        (rml2018, "rml2018", 4, 8, {}),
        (hkdd, "hkdd", 5, 512, {}),
        (hisarmod_csv, "hisarmod", 2, 1024, {}),
        (npz_set, "npz", 4, 8, {}),
        (sigmf, "sigmf", 8, 8, {"length": 8}),
    ],
)
def test_every_format_is_known_by_its_content(make, name, frames, length, options, tmp_path):
    path = make(tmp_path)
    dataset = open_dataset(str(path), **options)
    assert (dataset.format, len(dataset), dataset.length) == (name, frames, length)
    assert dataset.frames(np.arange(frames)).shape == (frames, 2, length)
    assert dataset.fingerprint


def test_recording_is_known_by_either_name(tmp_path):
    path = sigmf(tmp_path)
    by_data = open_dataset(path.with_suffix(".sigmf-data"), recording_length=16)
    assert by_data.fingerprint == open_dataset(path, length=16).fingerprint
    renamed = path.rename(tmp_path / "meta.json")
    with pytest.raises(DatasetError, match=r"\.sigmf-meta"):
        open_dataset(renamed)


def test_folder_of_both_parts_has_a_test_part(tmp_path):
    for part, start in (("train", 0), ("test", 1)):
        folder = tmp_path / part.capitalize()
        folder.mkdir()
        hisarmod_csv(folder)
        if start:
            for file in list(folder.iterdir()):
                file.rename(folder / file.name.replace("train", "test"))
    dataset = open_dataset(tmp_path)
    assert dataset.own_test.tolist() == [False, False, True, True]
    own = tmp_path / "own.h5"
    convert_to_h5(dataset, own, made_by="a test")
    assert open_dataset(own).own_test.tolist() == [False, False, True, True]
    verify_h5(own)


def test_options_keep_a_part(tmp_path):
    path = tmp_path / "set.pkl"
    path.write_bytes(pickle.dumps(CELLS, 2))
    assert open_dataset(path, snr_min_db=1).snr_db.tolist() == [2] * 6
    assert open_dataset(path, snr_max_db=1).snr_db.tolist() == [0] * 6
    assert open_dataset(path, classes=["QPSK"]).classes == ("QPSK",)
    with pytest.raises(DatasetError, match=r"its frames have 8 samples; expected 16\. Only a recording can be cut"):
        open_dataset(path, length=16)
    assert open_dataset(path, recording_length=16).length == 8
    with pytest.raises(DatasetError, match="an SNR for what says none is for SigMF recordings"):
        open_dataset(path, unknown_snr_db=3.0)


def test_a_models_weights_are_known_for_what_they_are(tmp_path):
    weights = {"w": torch.zeros(3)}
    torch.save(weights, tmp_path / "w.pt")
    save_file(weights, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        with pytest.raises(DatasetError, match=rf"{name}: a model's weights, not frames; .* Name the file of frames"):
            open_dataset(tmp_path / name)
