"""The plans of the layer methods: a strip a method and seed, which units stay and where blocks begin."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from toolchain.compared import Layers
from toolchain.report.comparison.looks import Figure, escaped
from toolchain.report.comparison.statistics import Entry
from toolchain.report.comparison.wording import several

KEPT, DROPPED = "#0050D8", "#E4E8EE"
ROW_PX = 20


def plans(entries: Sequence[Entry]) -> Figure | None:
    """The plans of all ``entries`` that have any, from the top in their order; None where none has."""
    strips = [
        (f"{entry.method}, seed {result.seed}", result.layers)
        for entry in entries
        for result in entry.results
        if result.layers is not None
    ]
    if not strips:
        return None
    longest = max((layers.units for _, layers in strips), key=len)
    names = [escaped(name) for name, _ in strips]
    boundaries = [
        (index - 0.5, name)
        for name, (_, layers) in zip(names, strips, strict=True)
        for index in layers.boundaries
        if index > 0
    ]
    cells: Figure = {
        "type": "heatmap",
        "x": list(range(len(longest))),
        "y": names,
        "z": [_strip(layers, len(longest)) for _, layers in strips],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, DROPPED], [0.5, DROPPED], [0.5, KEPT], [1, KEPT]],
        "showscale": False,
        "xgap": 2,
        "ygap": 4,
        "text": [_texts(layers, len(longest)) for _, layers in strips],
        "hovertemplate": "%{y}<br>%{text}<extra></extra>",
    }
    marks: Figure = {
        "type": "scatter",
        "mode": "markers",
        "x": [place for place, _ in boundaries],
        "y": [name for _, name in boundaries],
        "marker": {"symbol": "line-ns", "size": ROW_PX - 3, "line": {"width": 2, "color": "#D55E00"}},
        "hovertemplate": "%{y}: a block begins here<extra></extra>",
        "showlegend": False,
    }
    return {
        "data": [cells, marks],
        "layout": {
            "height": 150 + ROW_PX * len(strips),
            "xaxis": {
                "title": {"text": f"{several(len(longest), 'unit')} from input to output"},
                "tickvals": list(range(len(longest))),
                "ticktext": [escaped(name) for name in longest],
                "tickangle": -60,
                "automargin": True,
                "showgrid": False,
                "zeroline": False,
                "range": [-0.5, len(longest) - 0.5],
            },
            "yaxis": {
                "autorange": "reversed",
                "type": "category",
                "automargin": True,
                "showgrid": False,
                "tickvals": names,
            },
            "showlegend": False,
        },
    }


def _strip(layers: Layers, length: int) -> list[int | None]:
    kept = set(layers.kept)
    return [int(place in kept) if place < len(layers.units) else None for place in range(length)]


def _texts(layers: Layers, length: int) -> list[str]:
    kept, starts = set(layers.kept), sorted(layers.boundaries)
    texts = []
    for place, unit in enumerate(layers.units):
        block = max(bisect_right(starts, place), 1)
        # One entry a block, where the plan was made by blocks.
        by = layers.scored_by[block - 1] if len(layers.scored_by) >= max(len(starts), 1) else ""
        chosen = f", chosen by {escaped(by)}" if by else ""
        texts.append(f"{escaped(unit)}: {'kept' if place in kept else 'removed'}<br>block {block}{chosen}")
    return texts + [""] * (length - len(texts))
