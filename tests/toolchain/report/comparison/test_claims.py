from toolchain.report.comparison.summary import summary_of


def claims_of(compared):
    return summary_of([compared]).claims


def test_channels_are_said_to_lose_and_to_win_alike(make):
    first, _ = claims_of(make.compared())
    assert first.accuracy == (("lower", "l1 by 1.67 points [0.23, 3.10]"),)
    ((label, ((said, methods),)), _) = first.latency
    assert (label, said) == ("onnxruntime", "slower")
    assert methods.startswith("l1, 0.627 times as fast [0.62")
    assert first.in_short == "accuracy lower in 1; onnxruntime: slower in 1; openvino: slower in 1"
    turned = [make.cell(*who) for who in (("layers", 1, 0.8), ("layers", 2, 0.8), ("l1", 1, 0.9), ("l1", 2, 0.91))]
    (claim,) = claims_of(make.compared(cells=turned))
    assert claim.accuracy[0][0] == "higher"


def test_other_macs_are_said_where_accuracies_are_compared(make):
    cells = [make.cell("layers", 1), make.cell("l1", 1, judged=make.judged(0.9, macs=1000))]
    (claim,) = claims_of(make.compared(cells=cells))
    assert claim.accuracy == (("of one seed only, which shows nothing", "l1, 0.00 points with 50 % fewer MACs"),)


def test_what_was_not_compared_says_why(make):
    cells = [make.cell("layers", 1), make.cell("l1", 1, latency=()), make.cell("sfp", 1, judged=None, failed="no")]
    (claim,) = claims_of(make.compared(cells=cells))
    assert claim.accuracy[-1] == ("not compared", "sfp (failed)")
    assert claim.latency[0][1] == (("not compared", "l1 (not measured); sfp (failed)"),)


def test_a_layer_method_that_failed_is_named_as_the_reason(make):
    cells = [make.cell("layers", seed, judged=None, latency=(), failed="no") for seed in (1, 2)]
    cells += [make.cell("l1", seed) for seed in (1, 2)]
    cells += [make.cell("sfp", seed, **({"judged": None, "failed": "no"} if seed == 1 else {})) for seed in (1, 2)]
    (claim,) = claims_of(make.compared(cells=cells))
    why = "layers: failed with 2 seeds"
    assert claim.accuracy == (("not compared", f"l1 ({why}); sfp ({why})"),)


def test_channels_are_held_against_the_layer_method_that_can_be_compared(make):
    cells = [make.cell("layers", 1, judged=None, failed="no"), make.cell("psr", 1), make.cell("l1", 1)]
    (claim,) = claims_of(make.compared(cells=cells))
    assert claim.champion == "psr"
    # Never against a shape that was trained from scratch.
    cells = [make.cell("scratch", 1), make.cell("psr", 1), make.cell("l1", 1)]
    (claim,) = claims_of(make.compared(cells=cells, baseline="scratch"))
    assert claim.champion == "psr"
    assert claims_of(make.compared(cells=[cells[0], cells[2]], baseline="scratch")) == ()


def test_the_speed_of_one_seed_has_the_interval_of_its_one_run(make):
    (claim,) = claims_of(make.compared(cells=[make.cell("layers", 1), make.cell("l1", 1)]))
    ((said, methods),) = claim.latency[0][1]
    # Each is known within a factor of 1.1 / 0.9 from end to end.
    assert (said, methods) == ("slower in its one run", "l1, 0.626 times as fast [0.543, 0.722]")
