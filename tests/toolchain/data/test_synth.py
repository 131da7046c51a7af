from __future__ import annotations

import numpy as np
import pytest

from toolchain.data import open_h5, verify_h5
from toolchain.data.generator import PRESETS, generate
from toolchain.data.synth import write_generated
from toolchain.errors import DatasetError


def test_file_holds_the_generators_frames(tmp_path):
    path = tmp_path / "set.h5"
    told = []
    write_generated(
        path, "rml2016a", frames_per_cell=3, snr_db=(0, 2.5), seed=7,
        progress=lambda done, total, note="": told.append((done, total)),
    )  # fmt: skip
    expected, dataset = generate("rml2016a", frames_per_cell=3, snr_db=(0, 2.5), seed=7), open_h5(path)
    np.testing.assert_array_equal(dataset.frames(np.arange(66)), expected.iq)
    np.testing.assert_array_equal(dataset.labels, expected.label)
    np.testing.assert_array_equal(dataset.snr_db, expected.snr_db)
    assert dataset.classes == PRESETS["rml2016a"].classes
    assert dataset.sample_rate_hz == 200e3
    assert told[-1] == (66, 66)
    verify_h5(path)


@pytest.mark.parametrize("workers", [2, 3])
def test_file_is_the_same_to_the_byte_for_any_number_of_workers(tmp_path, workers):
    for name, count in (("one.h5", 1), ("many.h5", workers)):
        write_generated(tmp_path / name, "rml2016a", frames_per_cell=70, snr_db=(10,), seed=1, workers=count)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "many.h5").read_bytes()


def test_what_cannot_be_made_leaves_no_file(tmp_path):
    with pytest.raises(DatasetError, match="preset"):
        write_generated(tmp_path / "set.h5", "rml2017", frames_per_cell=3, snr_db=(0,), seed=7)
    with pytest.raises(DatasetError, match="cannot be written"):
        write_generated(tmp_path / "none" / "set.h5", "rml2016a", frames_per_cell=3, snr_db=(0,), seed=7)
    assert list(tmp_path.iterdir()) == []
