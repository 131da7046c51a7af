import pytest

from toolchain.report.comparison.gathering import gathered
from toolchain.report.comparison.latency import setting_labels, settings_of, timings


def test_latencies_of_two_settings_are_never_put_together(make):
    cells = [
        make.cell("layers", 1, latency=(make.timed(2.0), make.timed(4.0, threads=2), make.timed(3.0, runtime="b")))
    ]
    found = gathered([make.compared(cells=cells, originals=[])])
    settings = settings_of(found.results, ("b", "onnxruntime"))
    assert [setting.runtime for setting in settings] == ["b", "onnxruntime", "onnxruntime"]
    assert list(setting_labels(settings).values()) == [
        "b, 1 thread(s)",
        "onnxruntime, 1 thread(s)",
        "onnxruntime, 2 thread(s)",
    ]
    times = [timing.times_as_fast.mean for timing in timings(found.results, settings).values()]
    assert times == [3.0, 2.0, 4.0]


def test_a_setting_that_is_alone_is_named_by_its_runtime(make):
    settings = settings_of(gathered([make.compared()]).results, ("openvino", "onnxruntime"))
    assert list(setting_labels(settings).values()) == ["openvino", "onnxruntime"]


def test_seeds_are_summed_up_by_geometric_means(make):
    cells = [
        make.cell("l1", 1, latency=(make.timed(1.0),)),
        make.cell("l1", 2, latency=(make.timed(4.0, stable=False),)),
    ]
    results = [result for result in gathered([make.compared(cells=cells)]).results if result.method == "l1"]
    (timing,) = timings(results, settings_of(results, ())).values()
    assert timing.p50_ms.mean == pytest.approx(0.5)
    assert timing.times_as_fast.mean == pytest.approx(2.0)
    assert timing.p99_ms == pytest.approx(0.7)
    assert timing.percentiles_ms[50] == pytest.approx(0.5)
    assert not timing.stable
