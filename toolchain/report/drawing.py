"""What the pictures share: sheets, colours, names and numbers as they stand in them, and how one becomes a file."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Two colours that stay apart for colour-blind readers and in grey (Okabe and Ito).
COLOURS = {"original": "#0072B2", "pruned": "#D55E00"}
DOTS_PER_INCH = 120
# Inches around each panel: the label of one does not touch the next, nor the edge.
PADDING = 0.08
NAME_LIMIT = 28
# RML2018.01A's: each then has a tick.
MOST_TICKS = 26


def sheet(width: float, height: float) -> Figure:
    """An empty figure of so many inches, laid out so that nothing in it overlaps."""
    layout: Any = ConstrainedLayoutEngine(w_pad=PADDING, h_pad=PADDING)
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as PNG; without pyplot: no global state, and no window system is looked for."""
    drawn = io.BytesIO()
    FigureCanvasAgg(figure).print_png(drawn, metadata={"Software": None})  # type: ignore[no-untyped-call]
    # At once: Ctrl-C while drawing leaves no half of a file.
    path.write_bytes(drawn.getvalue())


def filled(text: str, width: float, points: float) -> str:
    """Wrap each line of ``text``, in letters of ``points``, to so many inches."""
    # A letter is on average about half as wide as high.
    letters = max(12, int(width * 72 / (0.52 * points)))
    return "\n".join(textwrap.fill(line, letters) for line in text.splitlines())


def readable(name: str, limit: int = NAME_LIMIT) -> str:
    """Write a class's name with the characters that the pictures' font has, at most ``limit`` of them."""
    known = _characters()
    text = "".join(
        letter if letter.isprintable() and ord(letter) in known else f"<{ord(letter):04X}>" for letter in name
    )
    return text if len(text) <= limit else f"{text[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"


def in_db(snr_db: float, unit: str = " dB") -> str:
    """Write an SNR with the minus sign that matplotlib's axes have."""
    return f"{snr_db:g}{unit}".replace("-", "\N{MINUS SIGN}")


def counted(count: int, noun: str) -> str:
    """``1 frame``, ``1,200 frames``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def tick_snrs(axes: Axes, snrs_db: Iterable[float], *, most: int = MOST_TICKS, fontsize: float = 8) -> None:
    """Tick the x axis at the SNRs that there are, at ``most`` of them, none too near to the one before."""
    snrs = sorted(set(snrs_db))
    ticks = snrs[:1]
    for snr in snrs[1:]:
        if snr - ticks[-1] >= (snrs[-1] - snrs[0]) / most:
            ticks.append(snr)
    axes.set_xticks(ticks, [in_db(snr, "") for snr in ticks], fontsize=fontsize)


def say(axes: Axes, text: str) -> None:
    """Write a few words where there is nothing to draw."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, fontsize=9, color="0.35")


@cache
def _characters() -> frozenset[int]:
    path = font_manager.findfont(FontProperties())
    return frozenset(font_manager.get_font(path).get_charmap())
