"""Budgets of latency, by a meter that counts: what is tested is the arithmetic."""

from dataclasses import replace

import pytest
from torch import nn

from toolchain.comparison import within
from toolchain.comparison.grid import Asked
from toolchain.comparison.within import Stand, prune_within
from toolchain.cost import cost
from toolchain.errors import NoRoomError, PlanError
from toolchain.latency_budget import Reading
from toolchain.models import create_model, load_model, save_model


class Counting:
    """A model takes 0.01 ms for each convolution, and as much for each 100,000 MACs."""

    kind, under = "estimated", {"target": "counts"}

    def write(self, model, card, folder, name):
        path = folder / name
        calls = sum(isinstance(module, nn.Conv1d) for module in model.modules())
        path.write_text(str(0.01 * calls + 1e-7 * cost(model, (2, card.length)).macs))
        return path

    def read(self, path, against, length, *, thorough, progress=None):
        ms, other = float(path.read_text()), float(against.read_text())
        return Reading(
            ms=ms, at_most_ms=ms, against_ms=other, times_as_fast=other / ms, at_least_times=other / ms, records={}
        )


@pytest.fixture
def stand(tmp_path):
    """A place where latencies are counted: the same again each time."""
    folder = tmp_path / "stand"
    folder.mkdir()
    return Stand(Counting(), folder)


@pytest.fixture
def pruned(start, asked_of, stand, monkeypatch, tmp_path):
    """Bring the model to a latency by a method."""
    original = tmp_path / "original.safetensors"
    save_model(original, start.model, start.card)
    monkeypatch.setattr(within, "opened", lambda asked, models: start)

    def bring(method, asked, *, wanted=None, taken=None, shape=None):
        what = asked_of(method, asked, wanted)
        files = {"original": original} | ({} if shape is None else {"shape": shape})
        folder = tmp_path / method
        folder.mkdir(exist_ok=True)
        read = [taken]
        record, path = prune_within(what, files, folder, stand, taken, read.append)
        smaller, card = load_model(path)
        return record, stand.share(start, smaller, card), read[-1], path

    return bring


def test_layers_are_within_the_limit_and_channels_come_to_what_they_take(pruned):
    record, share, taken, path = pruned("layers", Asked("speedup", 1.5))
    assert record["asked"] == record["wanted"] == pytest.approx(1 / 1.5)
    assert record["reached"] == share <= 1 / 1.5
    assert 0 < len(record["layers"]["kept"]) < 9
    # Units are read once and serve other methods, each of which is within the limit by itself.
    other, its_share, again, _ = pruned("random-layers", Asked("speedup", 1.5), taken=taken)
    assert other["reached"] == its_share <= 1 / 1.5
    assert again is taken
    channels, its_share, _, _ = pruned("l1", Asked("speedup", 1.5), wanted=share, taken=taken)
    assert channels["wanted"] == share
    assert channels["reached"] == its_share
    assert channels["within"]
    assert abs(its_share - share) <= 0.02
    scratch, its_share, _, _ = pruned("scratch", Asked("speedup", 1.5), shape=path)
    assert its_share == share
    assert scratch["reached"] == share


def test_a_latency_that_channels_do_not_reach_is_marked(pruned):
    # Each layer's call takes its time however few channels it has.
    record, share, _, _ = pruned("l1", Asked("speedup", 50.0), wanted=0.02)
    assert not record["within"]
    assert record["reached"] == share > 0.04


def test_milliseconds_are_a_part_of_what_the_original_takes(pruned, stand, model):
    _, _, taken, _ = pruned("layers", Asked("speedup", 1.5))
    record, share, _, _ = pruned("layers", Asked("latency_ms", taken.whole_ms / 2), taken=taken)
    assert record["asked"] == pytest.approx(0.5)
    assert share <= 0.5
    for method in ("layers", "l1"):
        with pytest.raises(PlanError, match="the model takes"):
            pruned(method, Asked("latency_ms", 2 * taken.whole_ms), taken=taken)
    with pytest.raises(NoRoomError):
        pruned("random-layers", Asked("speedup", 500.0), taken=taken)


def test_what_has_the_same_layers_is_read_once(stand, start):
    first = stand.beside(start, start.model, start.card)
    fresh = create_model("resnet1d20", classes=5, length=64)
    assert stand.beside(start, fresh, replace(start.card, training={"other": 1})) is first
    assert len(stand.known) == 1
