"""Pruning to a latency by a meter whose times are known, to be worked out by hand; and by an estimate of exported models."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
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
    plan_within,
    read_unit_latencies,
    unit_latencies,
)
from toolchain.models import ModelCard
from toolchain.pruning import Choices, find_units

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


@pytest.fixture
def within(model, frames, tmp_path):
    """Prune the model to a limit by a meter."""
    units = find_units(model, frames)
    matrix = np.corrcoef(np.random.default_rng(0).normal(size=(len(units), 50)))

    def pruned(limit, meter, **choices):
        taken = unit_latencies(model, CARD, units, meter, tmp_path, check=limit.check)
        work = Work(matrix=matrix, model=model, card=CARD, frames=frames, units=units, choices=Choices(**choices))
        return plan_within(limit, taken, meter, work, tmp_path)

    return pruned


def one_more_is_too_slow(found):
    kept = set(found.plan.kept)
    return any(
        set(each.kept) > kept and len(each.kept) == len(kept) + 1 and each.at_most_ms > found.limit_ms
        for each in found.attempts
    )


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


@pytest.mark.parametrize("limit", [Limit(speedup=1.5), Limit(speedup=2.0), Limit(latency_ms=0.7)])
def test_a_plan_is_within_the_limit_and_no_unit_more_would_be(within, limit):
    meter = Stopwatch()
    found = within(limit, meter)
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


@pytest.mark.parametrize(
    ("together", "speedup", "second"),
    [
        # All together the units that went saved more than each alone: there is room for one more.
        (0.8, 1.3, "unit latencies corrected"),
        # They saved less: the first plan is too slow.
        (1.25, 2.5, "unit latencies corrected"),
        # By unit latencies no plan is fast enough, and the smallest is.
        (0.8, 2.0, "stages.0.0 put back"),
    ],
)
def test_unit_latencies_that_do_not_add_up_are_corrected(within, together, speedup, second):
    found = within(Limit(speedup=speedup), Stopwatch(together=together))
    assert found.reading.ms <= found.limit_ms
    assert found.attempts[1].why == second
    assert one_more_is_too_slow(found)
    assert len(found.attempts) <= 3


def test_the_upper_end_of_the_interval_is_what_has_to_fit(within):
    meter = Stopwatch(spread=0.06)
    found = within(Limit(speedup=1.6), meter)
    assert found.reading.ms * 1.06 <= found.limit_ms
    assert one_more_is_too_slow(found)


def test_a_limit_in_milliseconds_is_held_to_the_upper_end_too(within):
    found = within(Limit(latency_ms=0.8), Stopwatch(spread=0.06))
    assert found.reading.at_most_ms <= 0.8
    assert one_more_is_too_slow(found)


def test_what_an_emulator_ran_is_no_devices_time(tmp_path):
    def measure(subject, against, processes, seconds, progress):
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
    assert one_more_is_too_slow(found)


def test_a_plan_says_what_was_asked_and_how_its_units_were_read(within):
    for limit in (Limit(speedup=1.5), Limit(latency_ms=0.5)):
        found = within(limit, Stopwatch(kind="estimated", together=0.9))
        told = found.plan.settings["latency"]
        assert (told["asked"], told["kind"], told["under"]) == (str(limit), "estimated", {"target": "a stopwatch"})
        assert told["limit_ms"] == found.limit_ms
        assert "keep" not in found.plan.settings
        assert json.loads(json.dumps(found.plan.to_json()))["settings"]["latency"] == told


def test_a_kind_of_unit_that_seems_to_take_more_is_tried_where_it_might_fit(within):
    # Read briefly, a unit of the last stage takes least; in truth it takes most, and one of another stage fits.
    class Wrong(Stopwatch):
        def write(self, model, card, folder, name):
            path = folder / name
            channels = [module.out_channels for module in model.modules() if isinstance(module, nn.Conv1d)]
            path.write_text(json.dumps(channels))
            return path

        def read(self, path, against, length, *, thorough, progress=silent):
            self.of = {16: 1.0, 32: 1.0, 64: 2.0} if thorough else {16: 1.0, 32: 1.0, 64: 0.95}
            return super().read(path, against, length, thorough=thorough)

        def taken_ms(self, path):
            return self.call_ms + self.conv_ms * sum(self.of[each] for each in json.loads(path.read_text()))

    found = within(Limit(latency_ms=1.0), Wrong())
    assert found.reading.ms <= 1.0
    # A unit of another stage would take a tenth of a millisecond, one of the last twice as much.
    assert found.reading.ms + 0.1 > 1.0


@pytest.mark.parametrize("wrong", [{"speedup": 1.0}, {"speedup": float("inf")}, {"latency_ms": 0.0}, {}])
def test_limits_that_are_none_are_refused(wrong):
    with pytest.raises(PlanError):
        Limit(**wrong)


def test_an_estimate_serves_as_a_meter(within, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    meter = EstimatedMeter(target=this_machine(), precision="fp32", settings=Settings())
    found = within(Limit(speedup=2.0), meter)
    assert found.reading.times_as_fast >= 2.0
    assert one_more_is_too_slow(found)
    # How far off it may be is told beside it.
    assert found.reading.records["pruned"]["low_ms"] < found.reading.ms < found.reading.records["pruned"]["high_ms"]


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
