from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from deploy.progress import silent
from toolchain.data import files_of_set, open_dataset, write_h5
from toolchain.errors import RunError
from toolchain.recipe import DataTable, Recipe
from toolchain.stages.run import Run


def write(path, scale):
    write_h5(
        path, iq=np.full((8, 2, 4), scale, "f4"), label=np.arange(8) % 2, snr_db=np.zeros(8, "f4"), classes=("a", "b"),
        sample_rate_hz=None, made_by="a test",
    )  # fmt: skip


def test_a_set_that_changed_since_it_was_split_is_refused(tmp_path):
    path = tmp_path / "set.h5"
    write(path, 1.0)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({"fingerprint": open_dataset(path).fingerprint}))
    recipe = Recipe(data=DataTable(file=str(path)))

    def run():
        return Run(recipe, SimpleNamespace(path=tmp_path), None)

    first = run()
    first.read(silent)
    assert len(first.dataset) == 8
    write(path, 2.0)
    with pytest.raises(RunError, match=r"set\.h5: holds other frames, labels or SNRs than when"):
        run().read(silent)


def test_files_that_belong_to_a_set_are_listed(tmp_path):
    for name in ("r.sigmf-meta", "r.sigmf-data", "train_data.csv", "train_labels.csv", "Train_SNR.csv", "test_snr.csv"):
        (tmp_path / name).touch()
    for name in ("r.sigmf-meta", "r.sigmf-data"):
        assert [file.name for file in files_of_set(tmp_path / name)] == ["r.sigmf-meta", "r.sigmf-data"]
    found = [file.name for file in files_of_set(tmp_path / "train_data.csv")]
    assert sorted(found) == ["Train_SNR.csv", "train_data.csv", "train_labels.csv"]
    assert files_of_set(tmp_path / "set.h5") == (tmp_path / "set.h5",)
