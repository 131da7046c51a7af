import io
import re

import pytest
from rich.console import Console

from deploy import progress
from deploy.progress import part, progress_bar


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_a_log_gets_a_plain_line_now_and_then_with_the_time_left(clock):
    log = io.StringIO()
    with progress_bar(Console(file=log), "train") as show:
        for step in range(1, 11):
            clock(10)
            show(step, 10, "loss [0.5]")
    # A line at most every 15 s; one step is 10 s; the last step is no progress any more.
    assert log.getvalue().splitlines() == [
        f"  train: {done} of 10, {10 * (10 - done)} s left, loss [0.5]" for done in (2, 4, 6, 8)
    ]


def test_work_taken_up_half_way_is_not_taken_for_fast(clock):
    log = io.StringIO()
    with progress_bar(Console(file=log), "train") as show:
        show(800, 1000)
        clock(20)
        show(810, 1000)
    assert log.getvalue().splitlines() == ["  train: 810 of 1000, 380 s left"]


def test_a_long_line_of_a_log_stays_one_line(clock):
    log = io.StringIO()
    with progress_bar(Console(file=log, width=40), "train") as show:
        show(0, 2)
        clock(20)
        show(1, 2, "a note of more words than the line is wide")
    assert log.getvalue() == "  train: 1 of 2, 20 s left, a note of more words than the line is wide\n"


def test_a_piece_of_work_tells_how_far_the_whole_is():
    told = []
    piece = part(lambda *heard: told.append(heard), 100, 40, 200, "the second")
    piece(1, 4)
    piece(3, 4, "epoch 2")
    piece(0, 0)
    assert told == [(110, 200, "the second"), (130, 200, "the second, epoch 2"), (100, 200, "the second")]


def test_a_terminal_gets_a_bar_with_names_as_they_are():
    screen = io.StringIO()
    with progress_bar(Console(file=screen, force_terminal=True, width=100), "data") as show:
        show(1, 4, "[red]file.h5")
        show(2, 4, "[red]file.h5")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "2/4" in text
    assert "[red]file.h5" in text
    assert "left" in text
