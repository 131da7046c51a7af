"""Each method brings a model to what is counted."""

import pytest

from toolchain.comparison import pruning
from toolchain.comparison.grid import Asked
from toolchain.comparison.methods import KINDS
from toolchain.comparison.pruning import prune
from toolchain.cost import cost
from toolchain.errors import NoRoomError
from toolchain.models import load_model, save_model


@pytest.fixture
def pruned(start, asked_of, monkeypatch, tmp_path):
    """Bring the model to a budget by a method: its record, and its MACs as a part of the original's."""
    monkeypatch.setattr(pruning, "opened", lambda asked, models: start)
    save_model(tmp_path / "shape.safetensors", start.model, start.card)

    def bring(method, asked, wanted=None):
        what = asked_of(method, asked, wanted)
        record, path = prune(what, {"shape": tmp_path / "shape.safetensors"}, tmp_path, lambda *told: None)
        smaller, _ = load_model(path)
        return record, cost(smaller, (2, 64)).macs / cost(start.model, (2, 64)).macs

    return bring


@pytest.mark.parametrize("method", [method for method, kind in KINDS.items() if kind != "scratch"])
def test_every_method_comes_to_the_macs_that_are_asked_for(pruned, method):
    record, left = pruned(method, Asked("macs_cut", 0.6), wanted=0.35)
    assert record["reached"] == pytest.approx(left)
    if KINDS[method] == "channels":
        assert record["wanted"] == 0.35
        assert abs(left - 0.35) <= 0.02
    else:
        assert record["wanted"] == record["asked"] == pytest.approx(0.4)
        assert 0.2 < left <= 0.4


def test_scratch_has_the_shape_that_it_is_given(pruned):
    record, left = pruned("scratch", Asked("macs_cut", 0.6))
    assert left == record["reached"] == 1.0


@pytest.mark.parametrize("method", ["layers", "psr", "random-layers"])
def test_a_plan_that_misses_the_budget_by_as_much_as_channels_may_is_taken(pruned, method):
    with pytest.raises(NoRoomError) as caught:
        pruned(method, Asked("macs_cut", 0.999))
    most = caught.value.most
    _, left = pruned(method, Asked("macs_cut", most + 0.015))
    assert left == pytest.approx(1 - most, abs=1e-4)
    with pytest.raises(NoRoomError):
        pruned(method, Asked("macs_cut", most + 0.025))
