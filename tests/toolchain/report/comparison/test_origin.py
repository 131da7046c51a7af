from toolchain.report.comparison.origin import origins
from toolchain.report.comparison.summary import summary_of


def origins_of(compared, method):
    summary = summary_of([compared])
    return origins(summary, next(line for line in summary.lines if line.entry.method == method))


def test_each_number_names_its_models_seeds_and_interval(make):
    found = origins_of(make.compared(), "l1")
    assert found.keys() == {
        *("accuracy", "points", "worst", "sensitivity", "macs", "params", "untuned"),
        *("p50-0", "times-0", "p50-1", "times-1"),
    }
    assert "n = 3; arithmetic mean; 95 % interval by Student's t over the seeds" in found["accuracy"]
    assert "seed 1: 88.00 %, seed 2: 91.00 %, seed 3: 92.00 %" in found["accuracy"]
    assert "from first: net on tiny, l1, macs_cut=0.5 (50 % fewer MACs), seeds 1, 2, 3" in found["accuracy"]
    assert "counted, not measured" in found["params"]


def test_a_latency_names_its_run_host_and_setting(make):
    latency = (make.timed(2.0, same_as="layers", stable=False),)
    found = origins_of(make.compared(cells=[make.cell("scratch", 1, latency=latency)]), "scratch")
    assert "run run-1 of 5 processes on bench (Some CPU, x86_64, Debian)" in found["p50-0"]
    assert "timed as layers's, whose layers are the same, UNSTABLE" in found["p50-0"]
    assert "target x86-64-cpu, onnxruntime 1.0, fp32, batch 1, 1 thread(s)" in found["times-0"]
    assert "says nothing of other seeds" in found["times-0"]


def test_what_is_not_there_comes_from_nowhere(make):
    why = "because of this, and at length: " + 40 * "why "
    found = origins_of(make.compared(cells=[make.cell("l1", 1, judged=None, failed=why)]), "l1")
    assert found == {"remarks": f"failed: {why}"}


def test_a_difference_names_both_models_and_the_seeds_of_its_pairs(make):
    cells = [*(make.cell("layers", seed) for seed in (1, 2, 3)), *(make.cell("l1", seed) for seed in (2, 3))]
    found = origins_of(make.compared(cells=cells), "l1")
    assert found["points"].splitlines()[-2:] == [
        "from first: net on tiny, l1, macs_cut=0.5 (50 % fewer MACs), seeds 2, 3",
        "from first: net on tiny, layers, macs_cut=0.5 (50 % fewer MACs), seeds 2, 3",
    ]
    assert found["points"].startswith("Accuracy less that of layers, of 1,000 frames, in points")
    assert found["accuracy"].startswith("Accuracy on the test split, of 1,000 frames, measured")
