import io

from rich.console import Console

from toolchain.report.comparison.summary import summary_of
from toolchain.report.comparison.terminal import show_comparison


def shown(compared, width=80):
    console = Console(file=io.StringIO(), width=width)
    show_comparison(console, summary_of([compared]), [])
    return console.file.getvalue()


def test_names_are_whole_at_eighty_columns(make):
    long = "a-model-of-a-very-long-name-that-says-all-of-it"
    text = shown(make.compared(cells=[make.cell("layers", 1, model=long)], originals=[make.original(1)]))
    assert f"{long} on tiny" in text
    text = shown(make.compared())
    assert "at least 2 times as fast" in text
    assert max(map(len, text.split("Of 2 pairs")[0].splitlines())) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown(make.compared(), width=30)


def test_what_is_not_done_has_no_winner(make):
    said = shown(make.compared(missing=make.missing("lcp", 1, 2, 3)))
    assert "not all is done" in said
    assert "3 cells not done yet" in said
    assert "No cell of the comparison is there yet" in shown(make.compared(cells=[], originals=[]))
