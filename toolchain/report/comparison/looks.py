"""How a method looks, the same in every plot: its colour, its marker, its line.

Colour alone never tells two methods apart: each that is known here has a marker and a dash of its own. Colours: Okabe and
Ito's for layers, Paul Tol's "muted" for channels, both made for colour-blind readers.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from toolchain.compared import OURS
from toolchain.report.comparison.gathering import Kind

Figure = dict[str, Any]
"""A figure as plotly.js takes it: ``data`` and ``layout``. Its page adds fonts, margins and the like."""

GROUPS: dict[Kind, str] = {
    "original": "not pruned",
    "layers": "layers removed",
    "channels": "channels removed",
    "scratch": "trained from scratch",
}


@dataclass(frozen=True)
class Look:
    """A colour, a plotly marker symbol, a plotly dash, a line's width in pixels."""

    colour: str
    symbol: str
    dash: str = "solid"
    width: float = 1.6


_LOOKS = {
    "original": Look("#111111", "star", "14px,3px", 2.0),
    OURS: Look("#0050D8", "circle", "solid", 3.4),
    "psr": Look("#D55E00", "star-diamond", "12px,2px,2px,2px"),
    "random-layers": Look("#7F8C9A", "octagon", "2px,2px"),
    "sr-init": Look("#E69F00", "hexagram", "7px,2px,2px,2px,2px,2px"),
    "lcp": Look("#009E73", "cross", "5px,2px"),
    "l1": Look("#332288", "square", "dash"),
    "l2": Look("#88CCEE", "diamond", "dot"),
    "fpgm": Look("#CC6677", "triangle-up", "dashdot"),
    "bn-scale": Look("#117733", "triangle-down", "longdash"),
    "sfp": Look("#882255", "pentagon", "6px,2px,1px,2px,1px,2px"),
    "rfp": Look("#44AA99", "hexagon", "9px,2px"),
    "taylor": Look("#AA4499", "triangle-left", "3px,3px"),
    "lamp": Look("#999933", "triangle-right", "longdashdot"),
    "random-channels": Look("#BDA94E", "hourglass", "1px,3px"),
    "scratch": Look("#555555", "x", "1px,6px"),
}
# For a method that is not known here, by its place.
_MORE = ("#AA3377", "#4477AA", "#66AA55", "#BB8855", "#667788")
_SYMBOLS: dict[Kind, str] = {"original": "star", "layers": "circle", "channels": "bowtie", "scratch": "x"}


def look_of(method: str, kind: Kind) -> Look:
    """How ``method`` looks."""
    known = _LOOKS.get(method)
    return known or Look(_MORE[sum(method.encode()) % len(_MORE)], _SYMBOLS[kind], "dashdot")


def escaped(text: str) -> str:
    """A name in a figure's text, where plotly takes some HTML."""
    return html.escape(text, quote=False)


def faint(colour: str, opacity: float) -> str:
    """``#RRGGBB`` as a colour that lets through what is behind it."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def legend(method: str, kind: Kind) -> Figure:
    """The keys of a trace that let it stand in the legend under its kind."""
    return {
        "name": f"<b>{escaped(method)}</b>" if method == OURS else escaped(method),
        "legendgroup": method,
        "legendrank": 1000 + 100 * list(GROUPS).index(kind) + (0 if method == OURS else 1),
    }


def shorter(number: float, digits: int = 5) -> float:
    """With so many significant digits: more are invisible, and a page has hundreds of thousands of numbers."""
    return float(f"{number:.{digits}g}")
