import numpy as np
import pytest
from rich.console import Console

from deploy.bundle import InputFormat, open_bundle
from deploy.latency import Measurement, ModelLatency
from deploy.latency_table import frames_per_s, latency_table, reservations, summary
from deploy.results import LatencyRecord, Ratio


def record(**changes):
    conditions = {
        "p50_interval_ms": [0.19, 0.21],
        "processes": 10,
        "unstable_processes": 0,
        "quota_throttled_periods": 0,
        "thermal_throttle_events": None,
        "governor": None,
    }
    figures = {"p50_ms": 0.2, "p90_ms": 0.25, "p95_ms": 0.26, "p99_ms": 0.4, "max_ms": 3.0, "runs": 12345}
    settings = {"target": "board", "runtime": "onnxruntime", "runtime_version": "1.2", "batch": 1, "threads": 1}
    conditions |= {name: changes.pop(name) for name in list(changes) if name in conditions}
    return LatencyRecord(**{"precision": "fp32", **settings, **figures, **changes}, conditions=conditions)


def measurement(*, ratio=None, **changes):
    return Measurement(
        models={"bundle": ModelLatency(record=record(**changes), samples_ns=(np.array([200_000]),))}, ratio=ratio
    )


def test_table_has_every_figure(capsys):
    Console(width=80).print(latency_table(measurement(), {"bundle": "out/pruned"}))
    shown = capsys.readouterr().out
    for text in (
        "board: onnxruntime 1.2",
        "out/pruned",
        "0.2 ",
        "0.19 to 0.21",
        "0.25",
        "0.4",
        "12,345",
        "fp32",
        "5,000",
    ):
        assert text in shown


def test_frames_a_second_by_hand():
    assert frames_per_s(record(p50_ms=0.5, batch=4)) == pytest.approx(8000.0)


def test_summary_has_the_speed_up_and_the_rate_in_radio_terms(bundle_folder):
    ratio = Ratio(ratio=2.0, low=1.9, high=2.1)
    plain = open_bundle(bundle_folder()).manifest
    # 5,000 frames of 32 samples a second.
    assert list(summary(measurement(ratio=ratio), plain, "bundle")) == [
        "speed-up 2.0000 times (1.9000 to 2.1000, 95 % over 10 processes)",
        "0.16 million IQ samples a second",
    ]
    rated = plain.model_copy(update={"input": InputFormat(shape=(2, 32), scaling="none", sample_rate_hz=80e3)})
    assert list(summary(measurement(), rated, "bundle")) == [
        "0.16 million IQ samples a second: 2 times real time at 80 kHz"
    ]


def test_sound_measurement_has_no_reservations():
    assert list(reservations(measurement(), "fp32")) == []
    assert list(reservations(measurement(governor="performance"), None)) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"unstable_processes": 2}, "not steady after the longest warm-up in 2 of 10 processes"),
        ({"precision": "int8"}, "fp32 was asked for, and the runtime executed int8"),
        ({"processes": 3}, "fewer than 10 processes"),
        ({"quota_throttled_periods": 4}, "stopped the process in 4 periods"),
        ({"thermal_throttle_events": 1}, "because of heat"),
        ({"governor": "ondemand"}, "the clock governor is ondemand"),
    ],
)
def test_what_makes_the_figures_less_sound_is_told(changes, told):
    (sentence,) = reservations(measurement(**changes), "fp32")
    assert told in sentence
