import re

from toolchain.report.comparison.markdown import markdown, plain
from toolchain.report.comparison.summary import summary_of


def test_it_says_who_wins_what_channels_do_and_all_numbers(make):
    text = markdown(summary_of([make.compared(missing=make.missing("lcp", 1, 2))]))
    assert "2 cells not done yet: this is preliminary" in text
    assert "- **net on tiny, at least 2 times as fast**: layers (90.00 %, 3 seeds) is more accurate" in text
    assert "- onnxruntime, slower: l1, 0.627 times as fast" in text
    assert "18 finished models of 4 methods, made of 3 originals" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 7
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    psr, by_snr = (line for line in text.splitlines() if line.startswith("| psr |"))
    assert by_snr == "| psr | 46.2 | 87.3 | 92.3 |"
    assert "- layers, seed 1: keeps 2 of 4 units, 0, 3" in text
    assert psr.startswith("| psr | 3 | 92.33 ")
    assert "| no difference shown |" in psr


def test_names_are_no_markup(make):
    cells = [make.cell("l1", 1, model="a|b*<b>", judged=None, failed="line\n| two")]
    text = markdown(summary_of([make.compared(cells=cells, originals=[])]))
    assert "a\\|b\\*&lt;b&gt;" in text
    assert "line \\| two" in text
    assert "<b>" not in text
    assert plain("`x` [y]") == "\\`x\\` \\[y\\]"


def test_one_seed_and_nothing_at_all_have_no_interval(make):
    text = markdown(summary_of([make.compared(cells=[make.cell("layers", 1)], originals=[make.original(1)])]))
    line = next(line for line in text.splitlines() if line.startswith("| layers |"))
    assert line.startswith("| layers | 1 | 90.00 |")
    assert "(its run's interval)" in line
    assert "No cell is there yet" in markdown(summary_of([make.compared(cells=[], originals=[])]))


def test_every_note_of_a_number_is_there(make):
    below = make.judged(0.8, sensitivity_db=None)
    cells = [make.cell("layers", 1), make.cell("l1", 1, judged=below, latency=(make.timed(1.0, stable=False),))]
    text = markdown(summary_of([make.compared(cells=cells)]))
    line = next(line for line in text.splitlines() if line.startswith("| l1 |"))
    assert "(its run's interval, unstable)" in line
    assert "(ends below the level)" in line
    # The verdict has a column of its own, with what it owes to the MACs.
    assert line.count("one seed") == 1
    assert "| one seed with 50 % fewer MACs |" in line


def test_what_failed_is_one_line_a_reason(make):
    cells = [make.cell(name, seed, judged=None, latency=(), failed="no") for name in ("l1", "sfp") for seed in (1, 2)]
    cells.append(make.cell("layers", 1, unmeasured="openvino: cannot"))
    lines = markdown(summary_of([make.compared(cells=cells)])).splitlines()
    place = "net on tiny, 50 % fewer MACs, seed"
    assert lines[lines.index("### What failed") + 2] == f"- no: l1, {place}s 1, 2; sfp, {place}s 1, 2"
    assert lines[lines.index("### What could not be timed") + 2] == f"- openvino: cannot: layers, {place} 1"


def test_what_intervals_do_not_hold_is_said(make):
    recipe = {"data": [{"name": "tiny", "split": "own"}, {"name": "other", "split": "stratified"}]}
    text = markdown(summary_of([make.compared(recipe=recipe)]))
    assert 'tiny is split "own": every seed is judged on the same test frames' in text
    assert "other is split" not in text
