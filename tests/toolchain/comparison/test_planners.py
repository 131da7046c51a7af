"""One search brings every method that takes out layers to a latency; a made-up meter says what units take together."""

from __future__ import annotations

import pytest

from toolchain.baselines import random_layers
from toolchain.comparison import within
from toolchain.comparison.grid import Asked
from toolchain.comparison.methods import KINDS
from toolchain.comparison.within import Stand, prune_within
from toolchain.errors import NoRoomError
from toolchain.latency_budget import Reading
from toolchain.models import save_model
from toolchain.models.residual import ResidualUnit
from toolchain.pruning import Budget

# By the number of units: one alone saves 1.5 ms, more of them less each, so that sums promise what is not so.
SAVE_LESS_TOGETHER = (2.0, 2.8, 3.6, 4.4, 5.2, 6.0, 6.8, 7.6, 8.5, 10.0)
# One alone saves 0.3 ms, so that sums say that nothing can be had.
SAVE_MORE_TOGETHER = (1.0, 2.0, 3.0, 4.0, 5.2, 6.4, 7.6, 8.9, 9.7, 10.0)


class ByUnits:
    """What a model takes is in a table by how many units it has."""

    kind, under = "measured", {"target": "a table"}

    def __init__(self, takes_ms):
        self.takes_ms, self.read_of = takes_ms, []

    def write(self, model, card, folder, name):
        path = folder / name
        path.write_text(str(sum(isinstance(module, ResidualUnit) for module in model.modules())))
        return path

    def read(self, path, against, length, *, thorough, progress=None):
        mine, other = (self.takes_ms[int(each.read_text())] for each in (path, against))
        self.read_of.append((path, thorough))
        return Reading(
            ms=mine, at_most_ms=mine * 1.002, against_ms=other, times_as_fast=other / mine,
            at_least_times=other / mine / 1.002, records={},
        )  # fmt: skip


@pytest.fixture
def bring(start, asked_of, monkeypatch, tmp_path):
    """Bring the model to a latency by a method, as a meter reads it."""
    save_model(tmp_path / "original.safetensors", start.model, start.card)
    monkeypatch.setattr(within, "opened", lambda asked, models: start)

    def pruned(method, asked, meter):
        what = asked_of(method, asked)
        stand = Stand(meter, tmp_path)
        record, _ = prune_within(
            what, {"original": tmp_path / "original.safetensors"}, tmp_path, stand, None, lambda taken: None
        )
        return record, stand

    return pruned


@pytest.mark.parametrize("takes_ms", [SAVE_LESS_TOGETHER, SAVE_MORE_TOGETHER])
@pytest.mark.parametrize("method", [method for method, kind in KINDS.items() if kind == "layers"])
def test_every_method_keeps_as_many_units_as_fit(bring, method, takes_ms):
    for speedup in (1.6, 2.0):
        record, _ = bring(method, Asked("speedup", speedup), ByUnits(takes_ms))
        most = max(count for count, ms in enumerate(takes_ms) if ms * 1.002 <= 10.0 / speedup)
        assert len(record["layers"]["kept"]) == most
        assert record["reached"] == pytest.approx(takes_ms[most] / 10.0)


@pytest.mark.parametrize("method", ["random-layers", "psr"])
def test_what_no_plan_reaches_says_what_the_fastest_takes(bring, method):
    with pytest.raises(NoRoomError, match="no plan makes this model that fast; the fastest keeps"):
        bring(method, Asked("speedup", 9.0), ByUnits(SAVE_LESS_TOGETHER))


def test_of_a_method_with_an_order_the_first_stay_and_no_shape_is_read_twice(bring, model, frames):
    record, stand = bring("random-layers", Asked("speedup", 2.0), ByUnits(SAVE_LESS_TOGETHER))
    order = random_layers(model, frames, Budget(keep=9), seed=1).settings["order"]
    assert record["layers"]["kept"] == sorted(order[: len(record["layers"]["kept"])])
    read = [each for each in stand.meter.read_of if each[0].name != "without"]
    assert len(read) == len(set(read)) > 2
