"""Confusion of one model: what each class is taken for, in percent of its frames."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolchain.report.comparison.looks import Figure, escaped

# Numbers in more cells than these cannot be read.
MOST_WRITTEN = 14


def confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """A heat map of ``counts`` (rows the true class, summed over seeds), each row in percent of its frames."""
    frames = counts.sum(axis=1, keepdims=True)
    shares = np.round(100 * counts / np.maximum(frames, 1), 1)
    names = [escaped(name) for name in classes]
    if len(names) != len(counts):
        names = [str(number) for number in range(len(counts))]
    trace: Figure = {
        "type": "heatmap",
        "x": names,
        "y": names,
        # A whole number needs no ".0".
        "z": [[int(value) if value == int(value) else float(value) for value in row] for row in shares],
        "zmin": 0,
        "zmax": 100,
        "colorscale": [[0, "#F5F8FC"], [0.02, "#E3ECF7"], [0.5, "#5B93D6"], [1, "#0A3A7E"]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{y} is taken for %{x}: %{z} % of its frames<extra></extra>",
    }
    if len(names) <= MOST_WRITTEN:
        trace["texttemplate"] = "%{text}"
        trace["text"] = [[f"{math.floor(value + 0.5)}" if value >= 0.5 else "" for value in row] for row in shares]
    return {
        "data": [trace],
        "layout": {
            "xaxis": {"title": {"text": "taken for"}, "tickangle": -60, "type": "category", "automargin": True},
            "yaxis": {
                "title": {"text": "true modulation"},
                "autorange": "reversed",
                "type": "category",
                "automargin": True,
            },
        },
    }
