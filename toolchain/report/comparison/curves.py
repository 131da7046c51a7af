"""Lines of a row's methods: accuracy by SNR, and how the single runs' latencies are distributed."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.compared import OURS
from toolchain.report.comparison.axes import log_axis
from toolchain.report.comparison.gathering import ORIGINAL
from toolchain.report.comparison.latency import Setting
from toolchain.report.comparison.looks import Figure, Look, escaped, faint, legend, look_of, shorter
from toolchain.report.comparison.statistics import Entry
from toolchain.report.comparison.wording import several

# Accuracies in percent that are no lower need no axis down to 0.
FAR = 20


def by_snr(entries: Sequence[Entry], *, level: float, emphasised: Sequence[str]) -> Figure:
    """Mean accuracy against SNR, a line a method, with the band of its interval where it has more than one seed.

    Traces with ``meta`` "band" are bands; those of the ``emphasised`` methods are shown at first, the others on request:
    fifteen bands over each other hide the lines.
    """
    bands: list[Figure] = []
    lines: list[Figure] = []
    for entry in _on_top_last([entry for entry in entries if entry.by_snr]):
        look = look_of(entry.method, entry.kind)
        snrs = [shorter(snr_db) for snr_db in entry.by_snr]
        spreads = list(entry.by_snr.values())
        if all(spread.interval for spread in spreads):
            highs = [shorter(100 * spread.high, 4) for spread in spreads if spread.high is not None]
            lows = [shorter(100 * spread.low, 4) for spread in spreads if spread.low is not None]
            bands.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    **legend(entry.method, entry.kind),
                    "showlegend": False,
                    "meta": "band",
                    "visible": entry.method in emphasised,
                    "x": snrs + snrs[::-1],
                    "y": highs + lows[::-1],
                    "fill": "toself",
                    "fillcolor": faint(look.colour, 0.14),
                    "line": {"width": 0},
                    "hoverinfo": "skip",
                }
            )
        texts = [
            "" if spread.low is None or spread.high is None else f" [{100 * spread.low:.1f}, {100 * spread.high:.1f}]"
            for spread in spreads
        ]
        lines.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                **legend(entry.method, entry.kind),
                "x": snrs,
                "y": [shorter(100 * spread.mean, 4) for spread in spreads],
                "line": _line(look),
                "marker": {"symbol": look.symbol, "size": 5},
                "text": texts,
                "hovertemplate": f"<b>{escaped(entry.method)}</b>, %{{x}} dB: %{{y:.1f}} %%{{text}}, "
                f"{several(len(entry.seeds), 'seed')}<extra></extra>",
            }
        )
    return {
        "data": bands + lines,
        "layout": {
            "xaxis": {"title": {"text": "SNR in dB"}, "zeroline": False},
            "yaxis": {"title": {"text": "accuracy on the test split, %"}, "range": _shown(lines)},
            "hovermode": "closest",
            "shapes": [
                {
                    "type": "line",
                    "xref": "paper",
                    "x0": 0,
                    "x1": 1,
                    "y0": 100 * level,
                    "y1": 100 * level,
                    "line": {"width": 1, "dash": "dot", "color": "#7A828C"},
                    "layer": "below",
                }
            ],
        },
    }


def distribution(entries: Sequence[Entry], setting: Setting, label: str) -> Figure:
    """What share of single runs took at most so long: a line a method, of its percentiles from 0 to 100."""
    lines: list[Figure] = []
    for entry in _on_top_last([entry for entry in entries if setting in entry.timings]):
        look = look_of(entry.method, entry.kind)
        timing = entry.timings[setting]
        lines.append(
            {
                "type": "scatter",
                "mode": "lines",
                **legend(entry.method, entry.kind),
                "x": [shorter(value, 4) for value in timing.percentiles_ms],
                "y0": 0,
                "dy": 1,
                "line": _line(look),
                "hovertemplate": f"<b>{escaped(entry.method)}</b>: %{{y}} % of the runs took at most %{{x:.4g}} ms, "
                f"{several(len(timing.by_seed), 'seed')}<extra></extra>",
            }
        )
    return {
        "data": lines,
        "layout": {
            "xaxis": log_axis(
                f"latency of one run in ms, {escaped(label)} (log scale)", [x for line in lines for x in line["x"]]
            ),
            "yaxis": {"title": {"text": "share of runs, %"}, "range": [-2, 102]},
            "hovermode": "closest",
        },
    }


def _shown(lines: Sequence[Figure]) -> list[float]:
    """From 0 to 100 % with some room; of what stays far from 0 only its part."""
    values = [value for line in lines for value in line["y"]]
    low, high = min(values, default=0.0), max(values, default=100.0)
    return [-2, 102] if low < FAR else [low - 0.15 * (high - low) - 1, min(102.0, high + 0.05 * (high - low) + 1)]


def _line(look: Look) -> Figure:
    return {"color": look.colour, "dash": look.dash, "width": look.width}


def _on_top_last(entries: Sequence[Entry]) -> list[Entry]:
    """Ours last, so that no other line hides it; before it the original."""
    return sorted(entries, key=lambda entry: (entry.method == OURS, entry.method == ORIGINAL))
