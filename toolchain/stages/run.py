"""A recipe at work in a folder: what the stages share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.progress import Progress
from toolchain.data import Dataset, DataUse, Part, open_dataset, with_class_order
from toolchain.errors import RunError
from toolchain.models import ModelCard
from toolchain.pruning import Plan, plan_from_json
from toolchain.recipe import DataTable, Recipe
from toolchain.run_folder import RunFolder

# The models of a run, in the order in which they are shown; each is in NAME.safetensors and bundles/NAME/.
MODELS = ("original", "pruned")
GENERATED = Path("data", "frames.h5")


def use_asked(table: DataTable, seed: int) -> DataUse:
    """Which frames of its set a table takes, and how it splits them."""
    return DataUse(
        snr_min_db=table.snr_min_db,
        snr_max_db=table.snr_max_db,
        classes=table.classes,
        split=table.split,
        fractions=(table.train, table.validation, 1 - table.train - table.validation),
        seed=seed,
    )


@dataclass
class Run:
    """A recipe at work in a folder; what earlier stages left is read when it is first asked for.

    ``card`` is that of the model file that the recipe brings.
    """

    recipe: Recipe
    folder: RunFolder
    card: ModelCard | None
    opened: Dataset | None = None

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def seed(self) -> int:
        """The one number that all randomness of the run comes from."""
        return self.recipe.run.seed

    @property
    def use(self) -> DataUse:
        """Which frames of the set the recipe takes, and how it splits them."""
        return use_asked(self.recipe.data, self.seed)

    def opened_whole(self, path: Path, progress: Progress) -> Dataset:
        """The whole set in ``path``, before anything is selected."""
        table = self.recipe.data
        return open_dataset(path, length=table.length, unknown_snr_db=table.unknown_snr_db, progress=progress)

    def ordered(self, dataset: Dataset) -> Dataset:
        """``dataset`` with its classes in the model's order, where a model says one."""
        classes = self.card.classes if self.card else self.recipe.model.classes
        return with_class_order(dataset, classes) if classes else dataset

    def read(self, progress: Progress) -> None:
        """Open the frames, filtered, with the classes in the order of the model's logits; once."""
        if self.opened is None:
            path = Path(self.recipe.data.file or self.path / GENERATED)
            self.opened = self.ordered(self.use.selected(self.opened_whole(path, progress)))
            made_of = json.loads((self.path / "data" / "dataset.json").read_text())["fingerprint"]
            if self.opened.fingerprint != made_of:
                raise RunError(
                    f"{path}: holds other frames, labels or SNRs than when this run's stage data was made; put the set back, "
                    f"or name another folder with --out"
                )

    @property
    def dataset(self) -> Dataset:
        """The frames that :meth:`read` opened."""
        assert self.opened is not None  # the pipeline reads before every stage but the first
        return self.opened

    @cached_property
    def indices(self) -> dict[str, NDArray[np.int64]]:
        """Which frames each split has: train, validation, test."""
        with np.load(self.path / "data" / "split.npz") as file:
            return {name: file[name] for name in ("train", "validation", "test")}

    def split(self, name: str) -> Part:
        """The frames of a split: train, validation or test."""
        return Part(self.dataset, self.indices[name])

    def sample(self, name: str, count: int) -> NDArray[np.float32]:
        """``count`` frames of a split, or all where it has fewer, spread over class and SNR."""
        return self.split(name).sample(count, self.seed)

    @cached_property
    def plan(self) -> Plan:
        """The pruning plan."""
        return plan_from_json(json.loads((self.path / "plan.json").read_text()))
