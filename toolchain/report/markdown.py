"""report.md: what a run found, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolchain.pruning import Plan
from toolchain.report.table import conditions, rows


def markdown(results: Mapping[str, Any], plan: Plan) -> str:
    """The text of report.md; its pictures lie in ``figures/`` beside it."""
    dataset, parity = results["dataset"], results["parity"]
    frames = ", ".join(f"{count:,} {name}" for name, count in dataset["frames"].items())
    lines = [
        "# Original and pruned",
        "",
        f"Data: {dataset['source']}, {len(dataset['classes'])} classes; frames: {frames}. "
        f"Fingerprint `{dataset['fingerprint'][:16]}`.",
        "",
        "| | original | pruned | change |",
        "|---|---:|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in rows(results)),
        "",
        f"Measured on {conditions(results)}. Accuracy is that of the ONNX files on the test split, which nothing was "
        f"chosen on. Against torch the logits differ by at most {parity['max_abs_diff']:.1e}, and "
        f"{parity['agreement']:.2%} of the validation frames compared (at most "
        f"{results['settings']['export']['parity_frames']}) get the same class.",
        "",
        "![Accuracy by SNR](figures/accuracy.png)",
        "",
        "## The bundles",
        "",
        "| model | precision | bytes | accuracy, test split | same class as torch's | layers left in fp32 |",
        "|---|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {precision} | {entry['bytes']:,} | {entry['accuracy']:.2%} | {entry['parity']['agreement']:.2%} | "
            f"{_left(precision, entry['float_layers'])} |"
            for name, model in results["models"].items()
            for precision, entry in model["precisions"].items()
        ),
        "",
        "## The plan",
        "",
        f"{len(plan.kept)} of {len(plan.units)} units stay, chosen in {len(plan.blocks)} blocks; "
        f"the log-flow falls from {_flow(plan.log_flow_whole)} to {_flow(plan.log_flow)}.",
        "",
        "| block | units | kept | chosen by |",
        "|---:|---|---|---|",
        *(
            f"| {number} | {block[0]} to {block[-1]} | {_kept(plan, block)} | {by} |"
            for number, (block, by) in enumerate(zip(plan.blocks, plan.scored_by, strict=True), 1)
        ),
        "",
        "![Similarity of the units, the blocks and the kept units, the loss, the candidates](figures/plan.png)",
        "",
        "## Confusion",
        "",
        "![Confusion of both models](figures/confusion.png)",
        "",
        "## Where the time went",
        "",
        "| stage | seconds |",
        "|---|---:|",
        *(f"| {stage} | {seconds:.1f} |" for stage, seconds in results["seconds"].items()),
        "",
    ]
    return "\n".join(lines)


def _left(precision: str, layers: list[str]) -> str:
    """How many layers of an int8 file stayed float."""
    return str(len(layers)) if precision == "int8" else ""


def _flow(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.2f}"


def _kept(plan: Plan, block: tuple[int, ...]) -> str:
    return ", ".join(f"{index} ({plan.units[index].name})" for index in plan.kept if index in block)
