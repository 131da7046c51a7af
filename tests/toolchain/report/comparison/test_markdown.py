import re

from toolchain.report.comparison.markdown import markdown, plain
from toolchain.report.comparison.summary import summary_of


def test_it_says_who_wins_what_channels_do_and_all_numbers(make):
    text = markdown(summary_of([make.compared(missing=2)]))
    assert "2 cells not done yet: this is preliminary" in text
    assert "- **net on tiny, at least 2 times as fast**: layers (90.00 %, 3 seeds) is more accurate" in text
    assert "- onnxruntime, slower: l1, 0.625 times as fast" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 4
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    (psr,) = [line for line in text.splitlines() if line.startswith("| psr |")]
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
    (line,) = [line for line in text.splitlines() if line.startswith("| layers |")]
    assert line.startswith("| layers | 1 | 90.00 |")
    assert "(its run's interval)" in line
    assert "No cell is there yet" in markdown(summary_of([make.compared(cells=[], originals=[])]))
