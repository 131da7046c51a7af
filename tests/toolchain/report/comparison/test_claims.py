from toolchain.report.comparison.claims import chance_in_words, claims, tally, winner_in_words
from toolchain.report.comparison.summary import summary_of


def winners(compared):
    summary = summary_of([compared])
    return [winner_in_words(row, choice) for row, choice in zip(summary.rows, summary.choices, strict=True)]


def test_a_winner_is_named_and_where_there_is_none_those_like_the_best(make):
    assert winners(make.compared()) == [
        "No winner is shown: psr (92.33 %, 3 seeds) cannot be told from layers and l1.",
        "layers (90.00 %, 3 seeds) is more accurate than the other method.",
    ]


def test_what_is_left_out_is_said(make):
    cells = [make.cell("layers", 1), make.cell("l1", 1, within=False), make.cell("sfp", 1, judged=None, failed="no")]
    (sentence,) = winners(make.compared(cells=cells))
    assert sentence == (
        "No winner is shown: layers (90.00 %, 1 seed) is the only method that could be compared. "
        "Left out: l1 (budget not reached), sfp (failed)."
    )
    (sentence,) = winners(make.compared(cells=cells[1:]))
    assert sentence == "Nothing to compare: l1 (budget not reached), sfp (failed)."
    (sentence,) = winners(make.compared(cells=[make.cell("layers", 1), make.cell("l1", 1, 0.8)]))
    assert "one seed" in sentence


def test_channels_are_said_to_lose_and_to_win_alike(make):
    summary = summary_of([make.compared()])
    first, _ = claims(summary)
    minus = "\N{MINUS SIGN}"
    assert first.accuracy == (("lower", f"l1 by {minus}1.67 points [{minus}3.10, {minus}0.23]"),)
    assert first.latency[0] == ("onnxruntime", (("slower", "l1, 0.625 times as fast [0.625, 0.625]"),))
    assert first.in_short == "accuracy lower in 1; onnxruntime: slower in 1; openvino: slower in 1"
    turned = [make.cell(*who) for who in (("layers", 1, 0.8), ("layers", 2, 0.8), ("l1", 1, 0.9), ("l1", 2, 0.91))]
    (claim,) = claims(summary_of([make.compared(cells=turned)]))
    assert claim.accuracy[0][0] == "higher"
    assert tally(summary) == (
        "Of 2 pairs of a channel method and layers under the same budget, the channel method's accuracy is lower in 2."
    )


def test_other_macs_are_said_where_accuracies_are_compared(make):
    cells = [make.cell("layers", 1), make.cell("l1", 1, judged=make.judged(0.9, macs=1000))]
    (claim,) = claims(summary_of([make.compared(cells=cells)]))
    assert claim.accuracy == (("from one seed only (which shows nothing)", "l1 by 0.00 points with 50 % fewer MACs"),)


def test_what_was_not_compared_says_why(make):
    cells = [make.cell("layers", 1), make.cell("l1", 1, latency=()), make.cell("sfp", 1, judged=None, failed="no")]
    (claim,) = claims(summary_of([make.compared(cells=cells)]))
    assert claim.accuracy[-1] == ("not compared", "sfp (failed)")
    assert claim.latency[0][1] == (("not compared", "l1 (not measured); sfp (failed)"),)


def test_channels_are_not_held_against_channels(make):
    summary = summary_of([make.compared(cells=[make.cell("l1", 1), make.cell("sfp", 1)], baseline="l1")])
    assert claims(summary) == ()
    assert "nothing is said of the two" in tally(summary)


def test_chance_is_told_of_several_intervals(make):
    assert chance_in_words(summary_of([make.compared()])).startswith("4 paired differences to layers have an interval")
    assert chance_in_words(summary_of([make.compared(cells=[])])) == ""
