import numpy as np
import pytest
from rich.console import Console

from deploy.latency import Measurement, ModelLatency
from deploy.latency_table import frames_per_s, latency_table, layer_table, looks_table, reservations, summary
from deploy.layer_profile import LayerProfile, LayerRow
from deploy.profiling import Look
from deploy.results import LatencyRecord, Ratio


def record(**changes):
    conditions = {
        "p50_interval_ms": [0.19, 0.21],
        "processes": 10,
        "unstable_processes": 0,
        "quota_throttled_periods": 0,
        "thermal_throttle_events": None,
        "governor": None,
        "file_precision": "fp32",
        "memory_bytes": 3 << 19,
        "energy_joules_per_run": None,
        "on_device_p50_ms": None,
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
        "1.5 MiB",
    ):
        assert text in shown
    (energy,) = (line for line in shown.splitlines() if "energy a run" in line)
    assert "unknown" in energy


def test_time_without_transfers_is_shown_where_there_are_any(capsys):
    Console(width=80).print(latency_table(measurement(), {"bundle": "b"}))
    assert "without transfers" not in capsys.readouterr().out
    Console(width=80).print(latency_table(measurement(on_device_p50_ms=0.125), {"bundle": "b"}))
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "without transfers" in line)
    assert "0.125" in line


def test_energy_is_in_millijoules(capsys):
    Console(width=80).print(latency_table(measurement(energy_joules_per_run=0.00125), {"bundle": "b"}))
    assert "1.25 mJ" in capsys.readouterr().out


def test_frames_a_second_by_hand():
    assert frames_per_s(record(p50_ms=0.5, batch=4)) == pytest.approx(8000.0)


def test_summary_has_the_speed_up_and_the_rate_in_radio_terms():
    ratio = Ratio(ratio=2.0, low=1.9, high=2.1)
    # 5,000 frames of 32 samples a second.
    assert list(summary(measurement(ratio=ratio), 32, None, "bundle")) == [
        "speed-up 2.0000 times (1.9000 to 2.1000, 95 % over 10 processes)",
        "0.16 million IQ samples a second",
    ]
    assert list(summary(measurement(), 32, 80e3, "bundle")) == [
        "0.16 million IQ samples a second: 2 times real time at 80 kHz"
    ]


def test_sound_measurement_has_no_reservations():
    assert list(reservations(measurement())) == []
    assert list(reservations(measurement(governor="performance", file_precision=None))) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"unstable_processes": 2}, "not steady after the longest warm-up in 2 of 10 processes"),
        ({"precision": "int8"}, "bundle: the file is fp32, and onnxruntime executed int8"),
        ({"processes": 3}, "fewer than 10 processes"),
        ({"quota_throttled_periods": 4}, "stopped the process in 4 periods"),
        ({"thermal_throttle_events": 1}, "because of heat"),
        ({"governor": "ondemand"}, "the clock governor is ondemand"),
    ],
)
def test_what_makes_the_figures_less_sound_is_told(changes, told):
    (sentence,) = reservations(measurement(**changes))
    assert told in sentence


def test_looks_are_told_with_the_fastest_and_why_others_are_none(capsys):
    looks = [
        Look(runtime="onnxruntime", precision="fp32", p50_ms=0.25, accuracy=0.625, problem=None),
        Look(runtime="openvino", precision="int8", p50_ms=0.125, accuracy=0.5, problem=None),
        Look(runtime="tensorrt", precision="fp16", p50_ms=None, accuracy=None, problem="no NVIDIA driver"),
    ]
    Console(width=100).print(looks_table(looks, ("openvino", "int8")))
    shown = capsys.readouterr().out
    rows = {line.split()[1]: line.split() for line in shown.splitlines() if line.startswith("│")}
    assert [word for word in rows["onnxruntime"] if word != "│"] == ["onnxruntime", "fp32", "0.25", "62.50%"]
    assert " ".join(word for word in rows["openvino"] if word != "│") == "openvino int8 0.125 50.00% the fastest"
    assert " ".join(word for word in rows["tensorrt"] if word != "│") == "tensorrt fp16 - - no NVIDIA driver"


def test_a_layers_name_is_whole_in_80_columns(capsys):
    rows = [
        LayerRow(
            name=name,
            op="brgconv_avx512_f32",
            covers=(),
            p50_ms=0.0123,
            macs=393_216,
            size_bytes=65_792,
            bound="arithmetic",
        )
        for name in ("stages.2.8.branch.3/Conv", "a.longer.name.of.a.module.than.these/Conv")
    ]
    peaks = {"fp32_gmacs_per_s": 123.4, "cache_copy_gbytes_per_s": 80.0}
    profile = LayerProfile(rows=tuple(rows), precision="fp32", runtime_version="1", peaks=peaks, least_ms=0.001)
    Console(width=80).print(layer_table(profile))
    shown = capsys.readouterr().out
    (line,) = (line for line in shown.splitlines() if line.startswith("stages.2.8.branch.3/Conv"))
    assert line.split()[-5:] == ["12.3", "50.0%", "393,216", "65,792", "arithmetic"]
    first, second = (
        line.split()[0] for line in shown.splitlines() if line.startswith(("a.longer", "an.these", "n.these"))
    )
    assert first + second == "a.longer.name.of.a.module.than.these/Conv"


def test_layers_are_told_with_their_share_and_what_is_unknown(capsys):
    known = LayerRow(
        name="a + b", op="Conv", covers=("conv0", "relu0"), p50_ms=0.003, macs=1234, size_bytes=5678, bound="arithmetic"
    )
    unknown = LayerRow(name="reorder", op="Reorder", covers=(), p50_ms=0.001, macs=None, size_bytes=None, bound=None)
    peaks = {"fp32_gmacs_per_s": 123.4, "cache_copy_gbytes_per_s": None}
    profile = LayerProfile(rows=(known, unknown), precision="fp32", runtime_version="1", peaks=peaks, least_ms=0.001)
    Console(width=100).print(layer_table(profile))
    shown = capsys.readouterr().out
    assert "layers, 0.004 ms while watched" in shown
    title = " ".join(shown.partition("kind")[0].split())
    assert "bound by the longest of: launching, 1.0 µs as the quickest layer; " in title
    assert "float32 products at the rate of a matrix product, 123 GMAC/s" in title
    assert "bytes at the bandwidth of a copy in cache, which is not known here" in title
    assert [line.split() for line in shown.splitlines() if line.startswith(("conv0", "reorder"))] == [
        ["conv0", "Conv", "3.0", "75.0%", "1,234", "5,678", "arithmetic"],
        ["reorder", "Reorder", "1.0", "25.0%", "-", "-", "-"],
    ]
