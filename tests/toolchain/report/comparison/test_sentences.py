from toolchain.report.comparison.sentences import chance_in_words, tally, winner_in_words
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


def test_no_winner_is_named_before_all_that_was_asked_for_is_done(make):
    cells = [make.cell(method, seed, 0.9 - 0.1 * (method == "l1")) for method in ("layers", "l1") for seed in (1, 2, 3)]
    assert winners(make.compared(cells=cells)) == ["layers (90.00 %, 3 seeds) is more accurate than the other method."]
    assert winners(make.compared(cells=cells[:-1], missing=make.missing("l1", 3))) == [
        "No winner is named before all is done: l1 is not. So far layers (90.00 %, 2 seeds) has the highest mean."
    ]
    # A method of which there is nothing yet may be better than all.
    nothing = [cell for method in ("psr", "lcp") for cell in make.missing(method, 1, 2, 3)]
    (sentence,) = winners(make.compared(cells=cells, missing=tuple(nothing)))
    assert "before all is done: psr and lcp are not" in sentence
    (sentence,) = winners(
        make.compared(cells=cells, missing=tuple(cell for name in "abcde" for cell in make.missing(name, 1)))
    )
    assert "before all is done: 5 methods are not" in sentence
    # What failed is done.
    failed = make.cell("psr", 1, judged=None, failed="no")
    (sentence,) = winners(make.compared(cells=[cells[0], cells[3], failed]))
    assert "one seed" in sentence


def test_the_macs_of_others_are_said(make):
    cells = [make.cell("layers", seed, 0.9) for seed in (1, 2)]
    cells += [make.cell("psr", seed, judged=make.judged(0.8, macs=1000)) for seed in (1, 2)]
    (sentence,) = winners(make.compared(cells=cells))
    assert sentence == (
        "layers (90.00 %, 2 seeds) is more accurate than the other method. Beside layers, psr has 50 % fewer MACs."
    )


def test_pairs_are_counted_by_what_is_shown(make):
    assert tally(summary_of([make.compared()])) == (
        "Of 2 pairs of a channel method and layers under the same budget, the channel method's accuracy is lower in 2."
    )
    cells = [make.cell("layers", 1), make.cell("l1", 1), make.cell("sfp", 1, judged=None, failed="no")]
    assert tally(summary_of([make.compared(cells=cells)])) == (
        "Of 2 pairs of a channel method and layers under the same budget, 1 has one seed only, which shows nothing; "
        "1 is not compared."
    )


def test_a_row_without_channels_names_no_champion(make):
    cells = [make.cell("layers", 1), make.cell("l1", 1), make.cell("psr", 1, budget="macs_cut=0.75")]
    assert "a channel method and layers under" in tally(summary_of([make.compared(cells=cells)]))


def test_nothing_is_said_of_channels_alone(make):
    summary = summary_of([make.compared(cells=[make.cell("l1", 1), make.cell("sfp", 1)], baseline="l1")])
    assert summary.claims == ()
    assert "nothing is said of the two" in tally(summary)


def test_chance_is_told_as_what_is_expected_of_so_many_intervals(make):
    sentence = chance_in_words(summary_of([make.compared()]))
    assert sentence.startswith("4 paired differences in accuracy to layers have an interval")
    assert "0.2 of them on average would still exclude zero" in sentence
    assert "speed are not counted" in sentence
    assert chance_in_words(summary_of([make.compared(cells=[])])) == ""
