"""What the pictures share: colours, resolution, and how one becomes a file."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Two colours that stay apart for colour-blind readers and in grey (Okabe and Ito).
COLOURS = {"original": "#0072B2", "pruned": "#D55E00"}
DOTS_PER_INCH = 120


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as PNG; without pyplot: no global state, and no window system is looked for."""
    FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})  # type: ignore[no-untyped-call]
