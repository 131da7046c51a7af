"""The records as tables in Markdown, with what they say in words."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from deploy.interval import t_interval
from method_parts.grid import (
    ABLATION,
    DEFAULT,
    DISTILLATIONS,
    LONGER,
    LONGEST,
    PARTS,
    TUNING,
    WHOLE,
    Base,
    Cell,
    Choice,
    Training,
)
from method_parts.records import Record, Records, base_key, plan_key, tune_key
from method_parts.schedule import duration, needed

# The bar, and what is hoped for: MACs removed, points lost at most.
BARS = ((0.85, 1.0, "bar"), (0.9, 0.5, "ambition"))


@dataclass(frozen=True, eq=False)
class Done:
    """A finished cell: its plan, and the fine-tuned model judged."""

    cell: Cell
    plan: Record
    tuned: Record

    @property
    def lost(self) -> float:
        """Points of test accuracy lost to the base model."""
        return 100 * (self.tuned["base_test"] - self.tuned["test"])

    @property
    def lost_db(self) -> float | None:
        """Sensitivity lost in dB, None where either curve does not cross the level."""
        before, after = self.tuned["base_sensitivity_db"], self.tuned["sensitivity_db"]
        return None if before is None or after is None else after - before


def summary(cells: Sequence[Cell], records: Records) -> str:
    """All tables."""
    found = {_asked(done.cell): done for done in (finished(cell, records) for cell in cells) if done}
    sections = [_what_was_run(cells, records), _cuts(cells, records, found), _bars(found), _paired(found)]
    sections += [_ablation(found), _controls(found), _refused(cells, records)]
    return "\n\n".join(section for section in sections if section)


def finished(cell: Cell, records: Records) -> Done | None:
    """The cell's records, if it is finished."""
    plan = records.get(plan_key(cell.base, cell.choice))
    tuned = plan and "kept" in plan and records.get(tune_key(cell.base, tuple(plan["kept"]), cell.tuning))
    return Done(cell, plan, tuned) if plan and tuned else None


Asked = tuple[Base, Choice, Training]
Found = dict[Asked, Done]


def _asked(cell: Cell) -> Asked:
    return cell.base, cell.choice, cell.tuning


def _what_was_run(cells: Sequence[Cell], records: Records) -> str:
    done = sum(needed(cell, records) is None for cell in cells)
    timed = [*records.all("base"), *records.all("tune")]
    host = records.about.get("host", {})
    lines = [
        f"{done} of {len(cells)} cells are done, on {len(records.all('base'))} base models, with "
        f"{len(records.all('tune'))} fine-tunings (equal plans share one): "
        f"{duration(sum(record['processor_s'] for record in timed))} of one core's time "
        f"({host.get('cpu_model')}, {host.get('cores')} cores). `{records.about.get('command')}`"
    ]
    for part, text in PARTS.items():
        these = [cell for cell in cells if cell.part == part]
        if these:
            lines.append(f"- {part}: {sum(needed(cell, records) is None for cell in these)}/{len(these)}. {text}.")
    return "\n".join(lines)


def _cuts(cells: Sequence[Cell], records: Records, found: Found) -> str:
    """What each cut costs, set by set."""
    groups: dict[tuple[str, str, int], list[Done]] = defaultdict(list)
    for cell in cells:
        done = found.get(_asked(cell))
        if done and cell.choice in (Choice(macs_cut=cell.choice.macs_cut), Choice(keep=1)) and _as_usual(cell.tuning):
            groups[cell.base.architecture, cell.base.frames, cell.tuning.epochs].append(done)
    sections = []
    for (architecture, frames, epochs), all_done in groups.items():
        bases = [record for base in {done.cell.base for done in all_done} if (record := records.get(base_key(base)))]
        rows = [
            [
                "none", "all", "0 %", "0 %", _spread([100 * base["test"] for base in bases]), "", "",
                str(len(bases)),
            ]
        ]  # fmt: skip
        for asked in sorted({_cut_of(done.cell.choice) for done in all_done}):
            these = [done for done in all_done if _cut_of(done.cell.choice) == asked]
            in_db = [value for done in these if (value := done.lost_db) is not None]
            kept = sorted({len(done.plan["kept"]) for done in these})
            rows.append(
                [
                    asked,
                    f"{'-'.join(map(str, dict.fromkeys((kept[0], kept[-1]))))} of {these[0].plan['units']}",
                    f"{100 * statistics.fmean(done.plan['macs_removed'] for done in these):.1f} %",
                    f"{100 * statistics.fmean(done.plan['params_removed'] for done in these):.1f} %",
                    _spread([100 * done.tuned["test"] for done in these]),
                    _spread([done.lost for done in these]),
                    _spread(in_db) if in_db else "-",
                    str(len(these)),
                ]
            )
        head = ["cut of MACs", "units kept", "MACs removed", "parameters removed", "test accuracy, %"]
        head += ["points lost", "sensitivity lost, dB", "seeds"]
        title = f"**{architecture}, {frames}, fine-tuned for {epochs} epochs** (mean ± standard deviation)"
        sections.append(f"{title}\n\n{_table(head, rows)}")
    return "\n\n".join(sections)


def _as_usual(tuning: Training) -> bool:
    return (tuning.distillation, tuning.start) == (TUNING.distillation, TUNING.start)


def _cut_of(choice: Choice) -> str:
    return f"{choice.macs_cut:.0%}" if choice.macs_cut else "one unit"


def _bars(found: Found) -> str:
    lines = []
    for cut, points, name in BARS:
        for epochs in (TUNING.epochs, LONGER.epochs, LONGEST.epochs):
            lost = [
                done.lost
                for done in found.values()
                if done.cell.choice == Choice(macs_cut=cut)
                and done.cell.base.frames == "high"
                and done.cell.base.architecture == "resnet1d56"
                and done.cell.tuning == replace(TUNING, epochs=epochs)
            ]
            if lost:
                met = "met" if statistics.fmean(lost) <= points else "MISSED"
                lines.append(
                    f"- {name} {met}: {cut:.0%} of ResNet-56's MACs for at most {points:g} points; lost "
                    f"{_spread(lost)} over {len(lost)} seeds, at worst {max(lost):.2f}, after {epochs} epochs."
                )
    return "\n".join(lines)


def _paired(found: Found) -> str:
    """The method less each baseline, on the same base model; random draws are averaged before."""
    groups: dict[tuple[str, float, str], dict[Base, list[float]]] = defaultdict(lambda: defaultdict(list))
    same: dict[tuple[str, float, str], list[bool]] = defaultdict(list)
    removed: dict[tuple[str, float, str], list[tuple[float, float]]] = defaultdict(list)
    for (base, choice, tuning), done in found.items():
        if choice.by == "thinwave" or choice.macs_cut is None:
            continue
        ours = found.get((base, Choice(macs_cut=choice.macs_cut), tuning))
        if ours:
            group = base.frames, choice.macs_cut, choice.by
            groups[group][base].append(100 * (ours.tuned["test"] - done.tuned["test"]))
            same[group].append(ours.plan["kept"] == done.plan["kept"])
            removed[group].append((ours.plan["macs_removed"], done.plan["macs_removed"]))
    rows = []
    for group, by_base in sorted(groups.items()):
        frames, cut, by = group
        differences = [statistics.fmean(values) for values in by_base.values()]
        rows.append(
            [
                frames,
                f"{cut:.0%}",
                by,
                _removed(removed[group]),
                _interval(differences),
                str(len(differences)),
                f"{sum(same[group])} of {len(same[group])}",
                _verdict(differences),
            ]
        )
    if not rows:
        return ""
    head = [
        "set",
        "cut",
        "against",
        "MACs removed, ours and its",
        "points of test accuracy more, 95 % interval",
        "base models",
        "equal plans",
        "",
    ]
    return "**The method against random layers and psr** (paired: same base model, same fine-tuning)\n\n" + _table(
        head, rows
    )


def _ablation(found: Found) -> str:
    """Each axis: what a change to the default gains or costs on validation."""
    rows = []
    axes = {axis: [(_said(variant), _changed(variant)) for variant in variants] for axis, variants in ABLATION.items()}
    axes["distillation"] = [(f"{weight:g}" if weight else "none", _distilled(weight)) for weight in DISTILLATIONS]
    for axis, variants in axes.items():
        for text, change in variants:
            cells: list[str] = []
            by_base: dict[Base, list[float]] = defaultdict(list)
            for cut in (0.75, 0.85):
                pairs = list(_pairs(found, cut, change))
                differences = [100 * (theirs.tuned["validation"] - ours.tuned["validation"]) for ours, theirs in pairs]
                same = sum(ours.tuned is theirs.tuned for ours, theirs in pairs)
                for (ours, _), difference in zip(pairs, differences, strict=True):
                    by_base[ours.cell.base].append(difference)
                gone = [(ours.plan["macs_removed"], theirs.plan["macs_removed"]) for ours, theirs in pairs]
                if pairs:
                    cells += [_interval(differences), _removed(gone), f"{same}/{len(pairs)}"]
                else:
                    cells += ["-", "-", "-"]
            if by_base:
                # A base model's two cuts are no independent values: their mean is one.
                both = [statistics.fmean(values) for values in by_base.values()]
                rows.append([axis, text, *cells, _verdict(both)])
    if not rows:
        return ""
    head = ["axis", "instead of the default", "at 75 %", "MACs removed, default and this", "equal plans"]
    head += ["at 85 %", "MACs removed, default and this", "equal plans", "both together"]
    default = ", ".join(f"{name} {value}" for name, value in DEFAULT.settings.items())
    return (
        f"**Ablation** (default: {default}, distillation {TUNING.distillation:g}; points of validation accuracy more than "
        "the default has, 95 % intervals, paired)\n\n" + _table(head, rows)
    )


def _removed(pairs: Sequence[tuple[float, float]]) -> str:
    """The mean share of the MACs that two plans remove: a cut is a least, and what it removes beyond it costs accuracy."""
    ours, theirs = (100 * statistics.fmean(values) for values in zip(*pairs, strict=True))
    return f"{ours:.1f}, {theirs:.1f} %"


Change = Callable[[Choice, Training], tuple[Choice, Training]]


def _changed(variant: dict[str, object]) -> Change:
    return lambda choice, tuning: (replace(choice, **variant), tuning)


def _distilled(weight: float) -> Change:
    return lambda choice, tuning: (choice, replace(tuning, distillation=weight))


def _said(variant: dict[str, object]) -> str:
    return ", ".join(str(value) for value in variant.values())


def _pairs(found: Found, cut: float, change: Change) -> Iterable[tuple[Done, Done]]:
    for (base, choice, tuning), ours in found.items():
        # Only where the ablation was run: the bars' settings, with distillation.
        if choice != Choice(macs_cut=cut) or tuning not in (TUNING, replace(TUNING, epochs=2)):
            continue
        theirs = found.get((base, *change(choice, tuning)))
        if theirs and base.frames in ("high", "tiny") and base.architecture in ("resnet1d56", "resnet1d20"):
            yield ours, theirs


def _controls(found: Found) -> str:
    rows = []
    for (base, choice, tuning), done in found.items():
        if choice == WHOLE:
            rows.append(("the whole model, fine-tuned as the pruned ones are, less the base model", base, -done.lost))
        if tuning.start == "fresh" and choice.macs_cut:
            ours = found.get((base, choice, replace(tuning, start="kept")))
            if ours:
                gained = 100 * (ours.tuned["test"] - done.tuned["test"])
                rows.append((f"kept weights less fresh ones in the same shape, {choice.macs_cut:.0%}", base, gained))
        if tuning.epochs == LONGER.epochs:
            ours = found.get((base, choice, replace(tuning, epochs=TUNING.epochs)))
            if ours:
                gained = 100 * (done.tuned["test"] - ours.tuned["test"])
                rows.append((f"{tuning.epochs} epochs less {TUNING.epochs}, {_cut_of(choice)}", base, gained))
    groups: dict[str, list[float]] = defaultdict(list)
    for text, _, value in rows:
        groups[text].append(value)
    if not groups:
        return ""
    table = [[text, _interval(values), str(len(values)), _verdict(values)] for text, values in groups.items()]
    return "**Controls** (points of test accuracy, 95 % intervals, paired)\n\n" + _table(
        ["what", "difference", "seeds", ""], table
    )


def _refused(cells: Sequence[Cell], records: Records) -> str:
    """Budgets that a choice cannot meet, with the nearest that it can."""
    groups: dict[str, set[int]] = defaultdict(set)
    for cell in cells:
        plan = records.get(plan_key(cell.base, cell.choice))
        if plan and "refused" in plan:
            differs = [str(value) for name, value in cell.choice.settings.items() if value != getattr(DEFAULT, name)]
            who = " ".join([cell.base.architecture, cell.base.frames, cell.choice.by, *differs])
            groups[f"{who}: {plan['refused'].partition(': ask')[0]}"].add(cell.base.seed)
    lines = [f"- {text} (seed {', '.join(map(str, sorted(seeds)))})" for text, seeds in sorted(groups.items())]
    return "Budgets that could not be met:\n" + "\n".join(lines) if lines else ""


def _spread(values: Sequence[float]) -> str:
    mean = statistics.fmean(values)
    return f"{mean:.2f} ± {statistics.stdev(values):.2f}" if len(values) > 1 else f"{mean:.2f}"


def _interval(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:+.2f}"
    mean, low, high = t_interval(values)
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def _verdict(values: Sequence[float]) -> str:
    """What an interval says: more, less, or that it holds 0."""
    if not any(values):
        return "no difference: equal plans"
    if len(values) < 2:
        return "one value, no interval"
    mean, low, high = t_interval(values)
    if low <= 0 <= high:
        return f"{mean:+.2f}, the interval holds 0"
    return f"{mean:+.2f}, {'better' if mean > 0 else 'worse'}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
