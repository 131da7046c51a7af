"""Pruning to a latency by a meter whose times are known, to be worked out by hand; and by an estimate of exported models."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from deploy.errors import MeasurementError
from deploy.latency import Measurement, ModelLatency
from deploy.profiling import AGAINST, BUNDLE, Profile
from deploy.progress import silent
from deploy.results import LatencyRecord, Ratio
from deploy.targets import load_target, this_machine
from toolchain.errors import NoRoomError, PlanError
from toolchain.estimates import Settings
from toolchain.latency_budget import (
    EstimatedMeter,
    Limit,
    MeasuredMeter,
    Reading,
    Work,
    as_of_now,
    plan_within,
    read_unit_latencies,
    unit_latencies,
)
from toolchain.latency_budget.unit_latencies import alike_in_a_row
from toolchain.models import ModelCard, create_model
from toolchain.models.structure import edited
from toolchain.pruning import Choices, find_units, with_unit

CARD = ModelCard(architecture="resnet1d20", classes=("A", "B", "C", "D", "E"), length=64)


@dataclass
class Stopwatch:
    """A model takes ``call_ms`` and ``conv_ms`` a convolution, whose number counts to the power of ``together``.

    Readings are sure within ``spread``; those that are not thorough are off by what ``brief`` says for the number of channels.
    """

    call_ms: float = 0.2
    conv_ms: float = 0.05
    together: float = 1.0
    spread: float = 0.0
    kind: str = "measured"
    under = {"target": "a stopwatch"}  # noqa: RUF012
    readings: int = 0

    def write(self, model, card, folder, name):
        path = folder / name
        path.write_text(str(sum(isinstance(module, nn.Conv1d) for module in model.modules())))
        return path

    def taken_ms(self, path):
        return self.call_ms + self.conv_ms * int(path.read_text()) ** self.together

    def read(self, path, against, length, *, thorough, progress=silent):
        self.readings += 1
        ms, other = self.taken_ms(path), self.taken_ms(against)
        times = other / ms
        return Reading(
            ms=ms, at_most_ms=ms * (1 + self.spread), against_ms=other, times_as_fast=times,
            at_least_times=times / (1 + self.spread), records={},
        )  # fmt: skip


def pruned_within(limit, meter, model, matrix, frames, folder, card=CARD, **choices):
    units = find_units(model, frames)
    taken = unit_latencies(model, card, units, meter, folder, check=limit.check)
    work = Work(matrix=matrix, model=model, card=card, frames=frames, units=units, choices=Choices(**choices))
    return plan_within(limit, taken, meter, work, folder)


@pytest.fixture
def within(model, frames, tmp_path):
    """Prune the model to a limit by a meter."""
    matrix = np.corrcoef(np.random.default_rng(0).normal(size=(len(find_units(model, frames)), 50)))

    def pruned(limit, meter, **choices):
        return pruned_within(limit, meter, model, matrix, frames, tmp_path, **choices)

    return pruned


def no_unit_more_fits(found):
    """Of every run of dropped units that leave the same network one was read beside what is kept, and was too slow."""
    slow = {frozenset(each.kept) for each in found.attempts if each.at_most_ms > found.limit_ms}
    runs = [[index for index in run if index not in found.plan.kept] for run in alike_in_a_row(found.plan.units)]
    return all(any({*found.plan.kept, index} in slow for index in run) for run in runs if run)


def test_what_a_unit_takes_is_what_the_model_takes_less_without_it(model, frames, tmp_path):
    # 19 convolutions and 2 of shortcuts, which stay; a unit has two. Three alike, then twice a first and two alike: 5 kinds.
    meter = Stopwatch()
    units = find_units(model, frames)
    found = unit_latencies(model, CARD, units, meter, tmp_path)
    assert found.whole_ms == pytest.approx(0.2 + 0.05 * 21)
    assert [unit.name for unit in found.units] == [unit.name for unit in units]
    assert found.saved_ms == pytest.approx([0.1] * 9)
    assert meter.readings == 5


def test_a_unit_without_which_the_model_seems_slower_saves_nothing(model, frames, tmp_path):
    class Noisy(Stopwatch):
        def taken_ms(self, path):
            return super().taken_ms(path) * (1.2 if path.name == "without" else 1.0)

    found = unit_latencies(model, CARD, find_units(model, frames), Noisy(), tmp_path)
    assert found.saved_ms == (0.0,) * 9
    assert all(unit.times_as_fast < 1 for unit in found.units)


@pytest.mark.parametrize("allot", ["shares", "flow"])
@pytest.mark.parametrize("limit", [Limit(speedup=1.5), Limit(speedup=2.0), Limit(latency_ms=0.7)])
def test_a_plan_is_within_the_limit_and_no_unit_more_would_be(within, limit, allot):
    meter = Stopwatch()
    found = within(limit, meter, allot=allot)
    whole = found.whole_ms
    assert found.limit_ms == pytest.approx(0.7 if limit.speedup is None else whole / limit.speedup)
    assert found.reading.ms <= found.limit_ms + 1e-9
    # Each unit is a tenth of a millisecond.
    assert found.reading.ms + 0.1 > found.limit_ms
    assert found.reading.ms == pytest.approx(whole - 0.1 * len(found.plan.dropped))
    # The first plan was right, and one unit put back was too slow, of whichever kind it might have fitted.
    fits = [attempt.fits for attempt in found.attempts]
    assert fits[:2] == [True, False]
    assert not any(fits[1:])
    assert no_unit_more_fits(found)


@pytest.mark.parametrize(
    ("together", "speedup", "second"),
    [
        # All together the units that went saved more than each alone: there is room for one more.
        (0.8, 1.3, "unit latencies corrected"),
        # They saved less: the first plan is too slow.
        (1.25, 2.5, "unit latencies corrected"),
        # By unit latencies no plan is fast enough, and the smallest is.
        (0.8, 2.0, "put back"),
    ],
)
def test_unit_latencies_that_do_not_add_up_are_corrected(within, together, speedup, second):
    found = within(Limit(speedup=speedup), Stopwatch(together=together))
    assert found.reading.ms <= found.limit_ms
    assert found.attempts[1].why.endswith(second)
    assert no_unit_more_fits(found)


def test_of_units_that_take_the_same_the_one_with_most_flow_comes_back(within, model):
    found = within(Limit(speedup=2.0), Stopwatch(together=0.8))
    # Of the smallest plan, which has a budget of units.
    assert found.plan.settings["allot"] == "flow"
    smallest, larger = found.attempts[:2]
    assert larger.why.endswith("put back")
    (index,) = set(larger.kept) - set(smallest.kept)
    (run,) = [run for run in alike_in_a_row(found.plan.units) if index in run]
    plan = replace(found.plan, kept=smallest.kept)
    flows = {each: with_unit(plan, each, model).log_flow for each in run if each not in smallest.kept}
    assert len(flows) > 1
    assert index == max(flows, key=flows.get)


class ByChannels(Stopwatch):
    """A convolution takes ``whole`` or ``small`` by its channels, the latter in a model of at most 13 of them."""

    whole = {16: 0.05, 32: 0.05, 64: 0.055}  # noqa: RUF012
    small = {16: 0.04, 32: 0.04, 64: 0.01}  # noqa: RUF012

    def write(self, model, card, folder, name):
        path = folder / name
        channels = [module.out_channels for module in model.modules() if isinstance(module, nn.Conv1d)]
        path.write_text(json.dumps(channels))
        return path

    def taken_ms(self, path):
        channels = json.loads(path.read_text())
        by_channels = self.whole if len(channels) > 13 else self.small
        return self.call_ms + sum(by_channels[each] for each in channels)


@pytest.mark.parametrize("limit_ms", [0.36, 0.4, 0.44, 0.48, 0.52])
def test_a_unit_that_takes_far_less_in_the_pruned_model_is_put_back(within, limit_ms):
    # The quickest of the whole model are then slowest, and with less room than eight tenths of its time a unit fits.
    found = within(Limit(latency_ms=limit_ms), ByChannels())
    assert found.reading.ms <= limit_ms
    assert no_unit_more_fits(found)


def test_where_the_least_flow_is_asked_for_as_many_units_stay(within):
    found = within(Limit(speedup=1.3), Stopwatch(together=0.8), direction="min")
    assert len(found.plan.kept) == max(len(each.kept) for each in found.attempts if each.fits)
    assert no_unit_more_fits(found)


def test_the_smallest_plan_keeps_all_fixed_units_of_each_block(tmp_path):
    model = create_model("vgg1d16", 5, 64, generator=torch.Generator().manual_seed(0)).eval()
    frames = np.random.default_rng(5).normal(size=(4, 2, 64)).astype(np.float32)
    units = find_units(model, frames)
    assert [index for index, unit in enumerate(units) if unit.kind == "fixed"] == [1, 3, 6]
    # Units 0 to 3 are alike, 4 and 5, and the others: two fixed ones are in the first block.
    matrix = np.kron(np.eye(3), np.ones((4, 4)))[np.ix_(rows := [0, 1, 2, 3, 4, 5, 8, 9, 10], rows)]
    with pytest.raises(NoRoomError, match="the fastest keeps 4 of 9 units"):
        pruned_within(
            Limit(speedup=50.0), Stopwatch(), model, matrix, frames, tmp_path,
            replace(CARD, architecture="vgg1d16"), blocks=3,
        )  # fmt: skip


def test_the_upper_end_of_the_interval_is_what_has_to_fit(within):
    meter = Stopwatch(spread=0.06)
    found = within(Limit(speedup=1.6), meter)
    assert found.reading.ms * 1.06 <= found.limit_ms
    assert no_unit_more_fits(found)


def test_a_limit_in_milliseconds_is_held_to_the_upper_end_too(within):
    found = within(Limit(latency_ms=0.8), Stopwatch(spread=0.06))
    assert found.reading.at_most_ms <= 0.8
    assert no_unit_more_fits(found)


def test_what_an_emulator_ran_is_no_devices_time(tmp_path):
    def measure(subject, against, effort, progress):
        record = LatencyRecord(
            target="arm64-cpu", runtime="onnxruntime", runtime_version="1", precision="fp32", batch=1, threads=1, p50_ms=1,
            p90_ms=1, p95_ms=1, p99_ms=1, max_ms=1, runs=1, kind="emulated", conditions={"p50_interval_ms": [1.0, 1.0]},
        )  # fmt: skip
        models = {name: ModelLatency(record=record, samples_ns=()) for name in (BUNDLE, AGAINST)}
        return Profile(
            measurement=Measurement(models=models, ratio=Ratio(ratio=1.0, low=1.0, high=1.0)), runtime="onnxruntime",
            precision="fp32", host={}, length=64, sample_rate_hz=None,
        )  # fmt: skip

    meter = MeasuredMeter(
        measure=measure, target=load_target("arm64-cpu"), runtime="onnxruntime", precision="fp32", power_mode=None
    )
    with pytest.raises(MeasurementError, match="an emulator ran it, whose times are no device's"):
        meter.read(tmp_path / "a", tmp_path / "b", 64, thorough=True)


def test_a_limit_that_no_plan_meets_is_refused_with_the_fastest_that_was_read(within):
    with pytest.raises(
        NoRoomError,
        match=r"0\.1 ms: no plan makes this model that fast; the fastest keeps 1 of 9 units and was measured to take 0\.45 ms",
    ):
        within(Limit(latency_ms=0.1), Stopwatch())


def test_a_model_that_is_fast_enough_is_known_by_the_first_reading(within):
    meter = Stopwatch()
    with pytest.raises(PlanError, match=r"9 ms: the model takes 1\.25 ms as it is; ask for less"):
        within(Limit(latency_ms=9.0), meter)
    assert meter.readings == 1


def test_blocks_that_were_asked_for_stay(within):
    found = within(Limit(speedup=1.5), Stopwatch(), blocks=4)
    assert len(found.plan.boundaries) == 4
    # Four units are 0.2 + 0.05 * (1 + 2 + 8) ms: less there is not.
    with pytest.raises(NoRoomError, match=r"the fastest keeps 4 of 9 units"):
        within(Limit(latency_ms=0.7), Stopwatch(), blocks=4)


def test_mistakes_are_not_taken_for_a_limit_that_is_not_met(within):
    with pytest.raises(PlanError, match='expected "auto" or a number from 1 to the 9 units'):
        within(Limit(speedup=2.0), Stopwatch(), blocks=40)


def test_where_even_the_corrected_plan_is_too_slow_there_is_less_room(within):
    # Read thoroughly a model is slower by each convolution that went; read briefly nothing of that shows.
    class Late(Stopwatch):
        late = 0.0

        def read(self, path, against, length, *, thorough, progress=silent):
            self.late = 0.03 if thorough else 0.0
            return super().read(path, against, length, thorough=thorough)

        def taken_ms(self, path):
            left = int(path.read_text())
            return self.call_ms + self.conv_ms * left + self.late * (21 - left)

    found = within(Limit(speedup=1.15), Late())
    assert [attempt.why for attempt in found.attempts][:3] == ["first plan", "unit latencies corrected", "less room"]
    assert found.reading.ms <= found.limit_ms
    assert no_unit_more_fits(found)


def test_a_plan_says_what_was_asked_and_how_its_units_were_read(within):
    for limit in (Limit(speedup=1.5), Limit(latency_ms=0.5)):
        found = within(limit, Stopwatch(kind="estimated", together=0.9))
        told = found.plan.settings["latency"]
        assert (told["asked"], told["kind"], told["under"]) == (str(limit), "estimated", {"target": "a stopwatch"})
        assert told["limit_ms"] == found.limit_ms
        assert "keep" not in found.plan.settings
        assert found.plan.settings["allot"] == "flow"
        assert json.loads(json.dumps(found.plan.to_json()))["settings"]["latency"] == told


def test_a_kind_of_unit_that_seems_to_take_more_is_tried_where_it_might_fit(within):
    # Read briefly, a unit of the last stage takes least; in truth it takes most, and one of another stage fits.
    class Wrong(ByChannels):
        def read(self, path, against, length, *, thorough, progress=silent):
            self.small = self.whole = {16: 0.05, 32: 0.05, 64: 0.1 if thorough else 0.0475}
            return super().read(path, against, length, thorough=thorough)

    found = within(Limit(latency_ms=1.0), Wrong())
    assert found.reading.ms <= 1.0
    # A unit of another stage would take a tenth of a millisecond, one of the last twice as much.
    assert found.reading.ms + 0.1 > 1.0


@pytest.mark.parametrize("wrong", [{"speedup": 1.0}, {"speedup": float("inf")}, {"latency_ms": 0.0}, {}])
def test_limits_that_are_none_are_refused(wrong):
    with pytest.raises(PlanError):
        Limit(**wrong)


def test_an_estimate_serves_as_a_meter(model, frames, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    meter = EstimatedMeter(target=this_machine(), precision="fp32", settings=Settings())
    unit = find_units(model, frames)[1]
    whole = meter.write(model, CARD, tmp_path, "whole")
    without = meter.write(edited(model, unit.edits), CARD, tmp_path, "without")
    reading = meter.read(without, whole, CARD.length, thorough=True)
    assert reading.ms < reading.against_ms == pytest.approx(reading.ms * reading.times_as_fast)
    # How far off it may be is told beside it.
    assert reading.records["pruned"]["low_ms"] < reading.ms < reading.records["pruned"]["high_ms"]


def test_unit_latencies_of_a_slower_day_are_brought_to_what_the_model_takes_now(model, frames, tmp_path):
    taken = unit_latencies(model, CARD, find_units(model, frames), Stopwatch(call_ms=0.4, conv_ms=0.1), tmp_path)
    now = as_of_now(taken, model, CARD, Stopwatch(), tmp_path)
    assert now.whole_ms == pytest.approx(0.2 + 0.05 * 21)
    assert now.saved_ms == pytest.approx([0.1] * 9)


def test_unit_latencies_are_read_back_for_the_same_model_and_meter(model, frames, tmp_path):
    units = find_units(model, frames)
    meter = Stopwatch()
    taken = unit_latencies(model, CARD, units, meter, tmp_path)
    path = tmp_path / "latency.json"
    path.write_text(json.dumps({"unit_latencies": taken.model_dump(mode="json")}))
    assert read_unit_latencies(path, CARD, units, meter) == taken
    with pytest.raises(PlanError, match=r"units is .* there and .* here; leave --unit-latencies out"):
        read_unit_latencies(path, CARD, units[:-1], meter)
    with pytest.raises(PlanError, match="length is 64 there and 128 here"):
        read_unit_latencies(path, replace(CARD, length=128), units, meter)
    with pytest.raises(PlanError, match="kind is measured there and estimated here"):
        read_unit_latencies(path, CARD, units, Stopwatch(kind="estimated"))
    for text in ("", "[]", "{}"):
        path.write_text(text)
        with pytest.raises(PlanError, match="no unit latencies can be read"):
            read_unit_latencies(path, CARD, units, meter)


class Additive(ByChannels):
    """Units save what they save alone; those of the first stage least."""

    whole = small = {16: 0.02, 32: 0.05, 64: 0.055}  # noqa: RUF012


@pytest.mark.parametrize(("allot", "first"), [("shares", "stages.1.0"), ("flow", "stages.0.1")])
def test_the_block_furthest_below_its_share_is_tried_first_and_without_shares_the_quickest_unit(
    model, frames, tmp_path, allot, first
):
    # Two units that are alike, and seven: of two kept each has one, and of three the second's share is 7/3.
    matrix = np.zeros((9, 9))
    matrix[:2, :2] = matrix[2:, 2:] = 1.0
    found = pruned_within(
        Limit(latency_ms=0.44), Additive(), model, matrix, frames, tmp_path, blocks=2, allot=allot
    )  # fmt: skip
    assert len(found.plan.kept) == 2
    put_back = [attempt.why for attempt in found.attempts if attempt.why.endswith("put back")]
    assert put_back[0] == f"{first} put back"


def test_of_plans_that_fit_flow_counts_where_it_was_bought_and_units_where_they_were_shared_out(within, model, frames):
    plan = within(Limit(speedup=2.0), Stopwatch()).plan
    flowing = replace(plan, kept=(0, 4, 8), log_flow=5.0)
    larger = replace(plan, kept=(0, 3, 4, 8), log_flow=4.0)
    as_large = replace(plan, kept=(0, 3, 5, 8), log_flow=4.5)

    def best(*plans, **choices):
        work = Work(
            matrix=np.eye(9), model=model, card=CARD, frames=frames, units=plan.units, choices=Choices(**choices)
        )
        return max(plans, key=work.worth)

    assert best(larger, flowing, allot="flow") is flowing
    assert best(flowing, larger, allot="shares") is larger
    assert best(larger, as_large, allot="shares") is as_large
    # With the least flow asked for, more of it is no merit.
    assert best(flowing, larger, allot="flow", direction="min") is larger


def test_a_plan_is_made_anew_where_any_unit_is_foreseen_to_fit(model, frames, tmp_path):
    # What is left takes 0.05 ms less than foreseen: a quick unit fits, and one of the block that is furthest below its share
    # does not.
    class Quicker(Additive):
        def taken_ms(self, path):
            return super().taken_ms(path) - (0.05 if len(json.loads(path.read_text())) <= 13 else 0.0)

    matrix = np.zeros((9, 9))
    matrix[:2, :2] = matrix[2:, 2:] = 1.0
    found = pruned_within(Limit(latency_ms=0.44), Quicker(), model, matrix, frames, tmp_path, blocks=2, allot="shares")
    assert [attempt.why for attempt in found.attempts][:2] == ["first plan", "unit latencies corrected"]
    # There is room for a unit of the second block that gives more flow.
    assert (found.attempts[0].kept, found.plan.kept) == ((0, 2), (0, 8))
    assert no_unit_more_fits(found)
