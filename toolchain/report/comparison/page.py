"""report.html: one file with everything in it, that asks no network and no server for anything."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from toolchain.compared import OURS
from toolchain.report.comparison.cells import (
    JUDGED,
    TIMED,
    judged_numbers,
    macs_aside,
    seeds_in_words,
    state_in_words,
    timed_numbers,
    verdict_in_words,
)
from toolchain.report.comparison.figures import figures_of, subjects_of
from toolchain.report.comparison.looks import GROUPS, Figure, look_of
from toolchain.report.comparison.origin import host_in_words, origins
from toolchain.report.comparison.provenance import failures, flat_recipe, left_out_of_intervals, runs, unmeasured
from toolchain.report.comparison.sentences import chance_in_words, row_in_words, tally, winner_in_words
from toolchain.report.comparison.spread import BASES
from toolchain.report.comparison.summary import Summary
from toolchain.report.comparison.wording import budget_in_words, budget_order

_HERE = files("toolchain.report.comparison")


def page(summary: Summary) -> str:
    """The text of report.html."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_text("page.html.j2"))
    return template.render(
        summary=summary,
        winners=[
            (row_in_words(row.data, row.model, row.budget), choice.winner, winner_in_words(row, choice))
            for row, choice in zip(summary.rows, summary.choices, strict=True)
        ],
        claims=[(row_in_words(claim.data, claim.model, claim.budget), claim) for claim in summary.claims],
        tally=tally(summary),
        chance=chance_in_words(summary),
        heads={name: head.format(baseline=summary.baseline) for name, head in JUDGED.items()},
        timed_heads=TIMED,
        lines=_lines(summary),
        filters=_filters(summary),
        bases=[text for name, text in BASES.items() if name != "none"],
        sources=[
            (one, host_in_words(one), flat_recipe(one.recipe), flat_recipe(one.host)) for one in summary.found.compared
        ],
        runs=runs(summary),
        failures=failures(summary),
        unmeasured=unmeasured(summary),
        left_out=left_out_of_intervals(summary),
        ours=OURS,
        # These three are our own texts, or JSON in which no tag can begin.
        style=Markup(_text("page.css")),
        script=Markup(_text("page.js")),
        plotly=Markup(get_plotlyjs()),
        content=_json(_content(summary)),
    )


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _json(values: object) -> Markup:
    text = json.dumps(values, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _content(summary: Summary) -> dict[str, Any]:
    """What the page's script reads: what may be chosen, the figures, the origins of a line's numbers."""
    different: dict[str, int] = {}
    keys = {}
    for key, figure in figures_of(summary).items():
        # The methods of a row have one original: it is held once.
        keys[key] = different.setdefault(_canonical(figure), len(different))
    return {
        "subjects": [
            {
                "data": subject.data,
                "model": subject.model,
                "budgets": [budget_in_words(row.budget) for row in subject.rows],
                "methods": [
                    [entry.method for entry in row.entries if entry.confusion is not None] for row in subject.rows
                ],
            }
            for subject in subjects_of(summary)
        ],
        "settings": list(summary.labels.values()),
        "ours": OURS,
        "keys": keys,
        "figures": [json.loads(text) for text in different],
        "origins": [origins(summary, line) for line in summary.lines],
    }


def _canonical(figure: Figure) -> str:
    return json.dumps(figure, allow_nan=False, ensure_ascii=False)


def _lines(summary: Summary) -> list[dict[str, Any]]:
    budgets = sorted({line.entry.budget for line in summary.lines}, key=budget_order)
    return [
        {
            "entry": line.entry,
            "budget": budget_in_words(line.entry.budget),
            "budget_place": budgets.index(line.entry.budget),
            "kind": GROUPS[line.entry.kind],
            "colour": look_of(line.entry.method, line.entry.kind).colour,
            "seeds": seeds_in_words(line),
            "numbers": judged_numbers(line),
            "timed": [timed_numbers(summary, line, setting) for setting in summary.settings],
            "verdict": verdict_in_words(summary, line),
            "macs_aside": macs_aside(line),
            "state": state_in_words(line),
            "wins": any(
                choice.winner == line.entry.method and line.entry in row.entries
                for row, choice in zip(summary.rows, summary.choices, strict=True)
            ),
        }
        for line in summary.lines
    ]


def _filters(summary: Summary) -> dict[str, list[str]]:
    """The values that the table's selects offer, where there are several."""
    entries = [line.entry for line in summary.lines]
    budgets = sorted({entry.budget for entry in entries}, key=budget_order)
    offered = {
        "data": list(dict.fromkeys(entry.data for entry in entries)),
        "model": list(dict.fromkeys(entry.model for entry in entries)),
        "budget": [budget_in_words(budget) for budget in budgets],
        "kind": list(dict.fromkeys(GROUPS[entry.kind] for entry in entries)),
    }
    return {name: values for name, values in offered.items() if len(values) > 1}
