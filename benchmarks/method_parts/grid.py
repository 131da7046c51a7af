"""What is run: sets of frames, base models, choices of units and fine-tunings, and the cells that combine them.

Nothing here is relative to the defaults of ``plan_layers``: a cell says all the choices that decide it, so that a record
stays true when a default changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

SHARED_FILE = Path(__file__).parents[3] / "shared" / "data" / "RML2016.10a_dict.pkl"
# Frames of the training split on which units are compared.
COMPARED_FRAMES = 512


@dataclass(frozen=True, kw_only=True)
class FrameSet:
    """Generated frames of every class at SNRs from ``low_db`` to 18 dB by 2, or those of the shared file.

    Generated frames differ from seed to seed; of the file, only the split does.
    """

    frames_per_cell: int = 0
    low_db: int = -20
    file: str = ""

    @property
    def key(self) -> str:
        """What decides the frames, in words; of a file its name and the beginning of its SHA-256."""
        if self.file:
            return f"{self.file} {_digest(SHARED_FILE)}"
        return f"rml2016a, {self.frames_per_cell} a class and SNR, {self.low_db} to 18 dB"


@cache
def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


SETS = {
    "high": FrameSet(frames_per_cell=300, low_db=10),
    "full": FrameSet(frames_per_cell=100),
    "shared": FrameSet(file=SHARED_FILE.name),
    "tiny": FrameSet(frames_per_cell=20, low_db=14),
}
# Training frames of each, 60 %: for the estimate of the time.
TRAINING_FRAMES = {"high": 9_900, "full": 13_200, "shared": 10_560, "tiny": 396}


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long and how a model is trained or fine-tuned.

    ``start``: "kept" for the weights that a model has, "fresh" for weights drawn anew.
    """

    epochs: int
    batch: int = 64
    learning_rate: float = 6e-3
    weight_decay: float = 0.02
    distillation: float = 0.0
    temperature: float = 4.0
    start: str = "kept"


@dataclass(frozen=True, kw_only=True)
class Base:
    """A model before it is pruned."""

    frames: str
    architecture: str
    seed: int
    training: Training

    @property
    def key(self) -> dict[str, Any]:
        """All that decides its weights."""
        return {**asdict(self), "frames": SETS[self.frames].key}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How units are chosen: ``by`` "thinwave", "psr" or "random" (the ``draw``-th), within one budget.

    Settings that a baseline does not have are None.
    """

    by: str = "thinwave"
    macs_cut: float | None = None
    keep: int | None = None
    similarity: str | None = "cka"
    signature: str | None = "row"
    blocks: int | str | None = "auto"
    score: str | None = "synflow"
    direction: str | None = "max"
    draw: int | None = None

    @property
    def budget(self) -> dict[str, float]:
        """As a planner takes it."""
        return {name: value for name in ("macs_cut", "keep") if (value := getattr(self, name)) is not None}

    @property
    def settings(self) -> dict[str, Any]:
        """As a planner takes them."""
        names = ("similarity", "signature", "blocks", "score", "direction")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def baseline(by: str, *, draw: int | None = None, macs_cut: float) -> Choice:
    """A baseline's choice: it has none of the method's settings."""
    nothing = dict.fromkeys(("similarity", "signature", "blocks", "score", "direction"))
    return Choice(by=by, draw=draw, macs_cut=macs_cut, **nothing)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A base model pruned by a choice and fine-tuned; ``part`` is the question that it helps to answer."""

    part: str
    base: Base
    choice: Choice
    tuning: Training


BASE_TRAINING = {
    # Validation after 25 epochs of batches of 64: 0.917, after this: 0.930, both at rest (one seed, 10 to 18 dB).
    "resnet1d56": Training(epochs=30, batch=128),
    "resnet1d110": Training(epochs=20),
    # 55 M MACs: one seed and few epochs are what the time allows.
    "vgg1d16": Training(epochs=8, learning_rate=2e-3),
    "resnet1d20": Training(epochs=2),
}
TUNING = Training(epochs=15, distillation=0.5)
# One unit is the fewest; the cheapest one alone is the largest cut that there is, 97.5 % of ResNet-56's MACs.
FULL_CUTS: tuple[dict[str, Any], ...] = ({"macs_cut": 0.85}, {"macs_cut": 0.75}, {"macs_cut": 0.5}, {"keep": 1})
CUTS = (*FULL_CUTS, {"macs_cut": 0.9}, {"macs_cut": 0.97})
PAIRED_CUTS = (0.75, 0.5)
DRAWS = 2
ABLATION_CUTS = (0.85, 0.75)
DEFAULT = Choice(macs_cut=0.85)
# All units of ResNet-56: nothing is cut.
WHOLE = Choice(keep=27)
LONGER = replace(TUNING, epochs=2 * TUNING.epochs)
LONGEST = replace(TUNING, epochs=4 * TUNING.epochs)
# Axis -> what differs from the default.
ABLATION: dict[str, tuple[dict[str, Any], ...]] = {
    "signature": ({"signature": "sum"},),
    "similarity": ({"similarity": "cosine"}, {"similarity": "rsa"}),
    "direction": ({"direction": "min"},),
    "blocks": ({"blocks": 1}, {"blocks": 2}, {"blocks": 3}, {"blocks": 5}),
    "score": ({"score": "medoid"}, {"score": "l1"}, {"score": "random"}),
}
# Instead of the default's weight.
DISTILLATIONS = (0.0, 0.9)
PARTS = {
    "cuts": "ResNet-56 at all cuts, frames of 10 to 18 dB, three seeds",
    "longer": "the same, fine-tuned for as many epochs as the base model was trained",
    "paired": "against psr and random layers, the same as cuts",
    "ablation": "what each choice of the method is worth, the same",
    "controls": "the same shape from fresh weights; the whole model with the same fine-tuning",
    "full": "ResNet-56, frames of -20 to 18 dB, three seeds",
    "shared": "ResNet-56 on the shared file in the RML2016.10a format, three seeds",
    "resnet1d110": "ResNet-110, 85 %, two seeds",
    "vgg1d16": "VGG-16, 70 %, one seed",
    "longest": "ResNet-56, frames of 10 to 18 dB, 90 %, fine-tuned twice as long again; three seeds",
    "more-seeds": "cuts and paired, seeds four and five",
    "more-ablation": "the ablation, seeds four and five",
    "full-paired": "against psr and random layers, frames of -20 to 18 dB, three seeds",
}
# Not run unless asked for.
LARGER = ("more-seeds", "more-ablation", "full-paired")


def base_of(frames: str, architecture: str, seed: int) -> Base:
    """The base model of a set and a seed."""
    return Base(frames=frames, architecture=architecture, seed=seed, training=BASE_TRAINING[architecture])


def cells_of(parts: Sequence[str]) -> list[Cell]:
    """The cells of ``parts``, the most important first; those of the shared file only where it lies there."""
    cells = [cell for part in GRID if part in parts for cell in GRID[part]()]
    return [cell for cell in cells if cell.base.frames != "shared" or SHARED_FILE.is_file()]


def quick_grid() -> list[Cell]:
    """A small one, for trying."""
    tuning = replace(TUNING, epochs=2)
    cells = []
    for base in (base_of("tiny", "resnet1d20", seed) for seed in (1, 2)):
        for cut in PAIRED_CUTS:
            cells += [Cell(part="cuts", base=base, choice=Choice(macs_cut=cut), tuning=tuning)]
            cells += [Cell(part="paired", base=base, choice=each, tuning=tuning) for each in _others(cut)]
        cells += list(_ablation([base], (0.75,), tuning))
    return cells


def _cuts(
    part: str, bases: list[Base], budgets: tuple[dict[str, float], ...], tuning: Training | None = None
) -> Iterator[Cell]:
    for base in bases:
        for budget in budgets:
            yield Cell(part=part, base=base, choice=Choice(**budget), tuning=tuning or _tuning_of(base))


def _tuning_of(base: Base) -> Training:
    trained = base.training
    epochs = min(TUNING.epochs, trained.epochs)
    return replace(TUNING, epochs=epochs, learning_rate=trained.learning_rate)


def _others(cut: float, draws: int = DRAWS) -> list[Choice]:
    drawn = [baseline("random", draw=draw, macs_cut=cut) for draw in range(1, draws + 1)]
    return [baseline("psr", macs_cut=cut), *drawn]


def _paired(part: str, bases: list[Base], draws: int = DRAWS) -> Iterator[Cell]:
    for base in bases:
        for cut in PAIRED_CUTS:
            for choice in _others(cut, draws):
                yield Cell(part=part, base=base, choice=choice, tuning=TUNING)


def _ablation(bases: list[Base], cuts: tuple[float, ...], tuning: Training, part: str = "ablation") -> Iterator[Cell]:
    for base in bases:
        for cut in cuts:
            default = replace(DEFAULT, macs_cut=cut)
            for weight in DISTILLATIONS:
                yield Cell(part=part, base=base, choice=default, tuning=replace(tuning, distillation=weight))
            for variants in ABLATION.values():
                for variant in variants:
                    yield Cell(part=part, base=base, choice=replace(default, **variant), tuning=tuning)


def _controls(bases: list[Base]) -> Iterator[Cell]:
    for base in bases:
        for cut in (0.85, 0.75):
            fresh = replace(TUNING, start="fresh")
            yield Cell(part="controls", base=base, choice=Choice(macs_cut=cut), tuning=fresh)
        yield Cell(part="controls", base=base, choice=WHOLE, tuning=TUNING)


def _bases(frames: str, seeds: int, architecture: str = "resnet1d56") -> list[Base]:
    return [base_of(frames, architecture, seed) for seed in range(1, seeds + 1)]


GRID = {
    "cuts": lambda: _cuts("cuts", _bases("high", 3), CUTS),
    "longer": lambda: _cuts("longer", _bases("high", 3), CUTS, LONGER),
    "paired": lambda: _paired("paired", _bases("high", 3)),
    "ablation": lambda: _ablation(_bases("high", 3), ABLATION_CUTS, TUNING),
    "controls": lambda: _controls(_bases("high", 3)),
    "full": lambda: _cuts("full", _bases("full", 3), FULL_CUTS),
    "shared": lambda: _cuts("shared", _bases("shared", 3), FULL_CUTS),
    "resnet1d110": lambda: _cuts("resnet1d110", _bases("high", 2, "resnet1d110"), ({"macs_cut": 0.85},)),
    "vgg1d16": lambda: _cuts("vgg1d16", _bases("high", 1, "vgg1d16"), ({"macs_cut": 0.7},)),
    "longest": lambda: _cuts("longest", _bases("high", 3), ({"macs_cut": 0.9},), LONGEST),
    "more-seeds": lambda: chain(
        _cuts("more-seeds", _bases("high", 5)[3:], CUTS), _paired("more-seeds", _bases("high", 5)[3:])
    ),
    "more-ablation": lambda: _ablation(_bases("high", 5)[3:], ABLATION_CUTS, TUNING, "more-ablation"),
    "full-paired": lambda: _paired("full-paired", _bases("full", 3), draws=1),
}
