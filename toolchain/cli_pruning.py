"""``thinwave cost`` and ``thinwave prune``: what a model weighs, and which of its layers stay. One command, one call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.command_line import CONTEXT, JsonCommand, json_option, stderr, stdout, write_json
from toolchain.cli_latency import ALLOTMENTS, latency_options, within_of
from toolchain.cli_options import (
    SPLITS,
    data_option,
    model_options,
    remembered_split_option,
    replace_option,
    require_extra,
    selection_options,
)
from toolchain.errors import ToolchainError

if TYPE_CHECKING:
    from toolchain.pruning.selection import Direction

log = logging.getLogger(__name__)

SIMILARITIES = ("cka", "cosine", "rsa")
SIGNATURES = ("row", "sum")
SCORES = ("synflow", "medoid", "l1", "random")
DIRECTIONS = ("max", "min")

units_option = click.option(
    "--units", multiple=True, metavar="GLOB", help="Take the modules of these names for the units; may be given again."
)


class UnitsToKeep(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A whole number of units, or with a point in it a fraction of them."""

    name = "M|FRACTION"

    def convert(
        self, value: str | float, parameter: click.Parameter | None, context: click.Context | None
    ) -> int | float:
        """Read 7 as units and 0.25 as a fraction."""
        try:
            number = value if isinstance(value, float) else float(value) if "." in str(value) else int(value)
            if number <= 0 or (isinstance(number, float) and number > 1):
                raise ValueError(value)
        except ValueError:
            self.fail(
                f"{value!r} is neither a number of units from 1, as 7, nor a fraction of them over 0 and up to 1, as 0.25",
                parameter,
                context,
            )
        return number


class Cut(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A fraction of a sum that goes."""

    name = "F"

    def convert(self, value: str | float, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """Read a number over 0 and under 1; NaN is none."""
        try:
            cut = float(value)
        except ValueError:
            cut = 0.0
        if not 0 < cut < 1:
            self.fail(f"{value!r} is no fraction over 0 and under 1, as 0.85", parameter, context)
        return cut


def _enough_frames(context: click.Context, option: click.Parameter, value: int) -> int:
    from toolchain.recipe import COMPARED_FRAMES

    fewest, most = COMPARED_FRAMES
    if not fewest <= value <= most:
        raise click.BadParameter(
            f"{value} frames: units are compared by their outputs on these; expected {fewest} to {most}",
            context,
            option,
        )
    return value


class Blocks(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A number of blocks, or "auto"."""

    name = "auto|K"

    def convert(self, value: str | int, parameter: click.Parameter | None, context: click.Context | None) -> int | str:
        """Read a whole number from 1."""
        if value == "auto":
            return value
        try:
            blocks = int(value)
        except ValueError:
            blocks = 0
        if blocks < 1:
            self.fail(f"{value!r} is neither auto nor a number of blocks from 1", parameter, context)
        return blocks


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave cost resnet1d56\n"
    "  thinwave cost trained.safetensors --json\n"
    "  thinwave cost --model mypackage.models:build --weights trained.pt --length 1024\n"
    "  thinwave cost resnet56 --units 'stages.0.*'",
)
@model_options
@click.option(
    "--classes", type=click.IntRange(min=2), metavar="N", help="Modulations, where no file says. [default: 11]"
)
@click.option(
    "--length", type=click.IntRange(min=1), metavar="N", help="Samples a frame, where no file says. [default: 128]"
)
@units_option
@json_option
def cost(
    model_text: str | None,
    model_name: str | None,
    weights: Path | None,
    classes: int | None,
    length: int | None,
    units: tuple[str, ...],
    json_path: str | None,
) -> None:
    """Say what MODEL weighs, and which of its units can be dropped.

    MODEL is a file that thinwave wrote, a name of the zoo, or package.module:factory.
    """
    require_extra()
    import numpy as np

    from toolchain.cost import cost as cost_of
    from toolchain.errors import ModelError, PlanError
    from toolchain.models import open_model
    from toolchain.pruning import look_at_units
    from toolchain.report.cost_text import cost_to_json, show_cost

    model, card = open_model(model_text, name=model_name, weights=weights, classes=classes, length=length)
    for option, given, said in (("--classes", classes, len(card.classes)), ("--length", length, card.length)):
        if given not in (None, said):
            raise ModelError(f"{model_text}: the file says {said} itself, and {option} says {given}; leave it out")
    shape = (2, card.length)
    weight = cost_of(model, shape)
    found = look_at_units(model, np.zeros((1, *shape), dtype=np.float32), units or None)
    if units and not found:
        raise PlanError(
            f"--units {' '.join(units)}: no module that runs has such a name; without it `thinwave cost` shows some"
        )
    name = str(model_text or model_name)
    if json_path:
        write_json(json_path, cost_to_json(name, shape, weight, found))
    if json_path != "-":
        show_cost(stdout(), name, shape, weight, found)


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave prune trained.safetensors --data frames.h5 --macs-cut 0.85 --out pruned\n"
    "  thinwave prune trained.safetensors --data frames.h5 --keep 7 --score medoid --blocks 3 --out pruned\n"
    "  thinwave prune trained.safetensors --data frames.h5 --speedup 4 --runtime openvino --out pruned\n"
    "  thinwave prune trained.safetensors --data frames.h5 --latency-ms 0.5 --target jetson-orin-nano-8gb --out pruned\n"
    "  thinwave prune --model mypackage.models:build --weights trained.pt --data frames.h5 --keep 0.25 --out pruned\n"
    "\n\b\nThen:\n"
    "  thinwave finetune pruned/model.safetensors --data frames.h5 --teacher trained.safetensors --out small.safetensors",
)
@model_options
@data_option
@click.option(
    "--keep",
    type=UnitsToKeep(),
    help="Units that stay: 7 is their number, 0.25 a fraction of them (1.0 is all, 1 is one). A fraction is rounded to the "
    "nearest number, a half to the even one: 0.25 of 27 is 7, 0.5 of 9 is 4.",
)
@click.option("--macs-cut", type=Cut(), help="Least fraction of the MACs that goes, as 0.85.")
@click.option("--params-cut", type=Cut(), help="Least fraction of the parameters that goes.")
@latency_options
@click.option(
    "--similarity", type=click.Choice(SIMILARITIES), default=SIMILARITIES[0], show_default=True,
    help="How alike the outputs of two units are.",
)  # fmt: skip
@click.option(
    "--signature", type=click.Choice(SIGNATURES), default=SIGNATURES[0], show_default=True,
    help="What stands for a unit when blocks are cut: its row of similarities, or their sum.",
)  # fmt: skip
@click.option("--blocks", type=Blocks(), default="auto", show_default=True, help="Runs of alike units.")
@click.option(
    "--score", type=click.Choice(SCORES), default=SCORES[0], show_default=True, help="What chooses a block's units."
)
@click.option(
    "--direction", type=click.Choice(DIRECTIONS), default=DIRECTIONS[0], show_default=True,
    help="Keep the most flow (or the largest weights), or the least as the published code does.",
)  # fmt: skip
@click.option(
    "--frames", type=int, metavar="N", default=512, show_default=True, callback=_enough_frames,
    help="Training frames, 8 to 4096, on which the units are compared; all, where the training split has fewer.",
)  # fmt: skip
@units_option
@selection_options
@remembered_split_option
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 32) - 1),
    default=1,
    show_default=True,
    help="Draws the split and the frames.",
)
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder for plan.json, model.safetensors, plan.png, and latency.json where that is the budget; made, with those "
    "above it, where it is not there.",
)
@replace_option
@json_option
def prune(
    model_text: str | None,
    model_name: str | None,
    weights: Path | None,
    file: Path,
    keep: int | float | None,
    macs_cut: float | None,
    params_cut: float | None,
    similarity: str,
    signature: str,
    blocks: int | str,
    score: str,
    direction: Direction,
    frames: int,
    units: tuple[str, ...],
    classes: str | None,
    snr_db: str | None,
    length: int | None,
    unknown_snr_db: float | None,
    split: str | None,
    seed: int,
    out: Path,
    replace: bool,
    json_path: str | None,
    **latency: Any,
) -> None:
    """Choose which units of MODEL stay, on training frames of FILE, and write the smaller model.

    One budget says how many: --keep, --macs-cut, --params-cut, --latency-ms or --speedup; --target alone has a speed-up of
    its own. For a latency each unit's own is read on the target, which takes minutes, the pruned model is exported and read,
    and the plan corrected until it is within the budget and no unit more would be.

    MODEL is a file that thinwave wrote; or a name of the zoo or package.module:factory, with its --weights. On the set that
    it was trained on, the frames are of its own training split.
    """
    require_extra()
    # What can be known to be wrong, before what is slow to import, and then before a large file is opened.
    budgets = {
        "--keep": keep, "--macs-cut": macs_cut, "--params-cut": params_cut, "--latency-ms": latency["latency_ms"],
        "--speedup": latency["speedup"],
    }  # fmt: skip
    given = [name for name, value in budgets.items() if value is not None]
    if len(given) > 1 or not (given or latency["target"]):
        *most, last = budgets
        raise ToolchainError(f"expected one budget, {', '.join(most)} or {last}; got {' and '.join(given) or 'none'}")
    counted = given != [] and given[0] in ("--keep", "--macs-cut", "--params-cut")
    within = within_of(other_budget=counted, **latency)
    from deploy.progress import progress_bar
    from toolchain.data import use_in_words
    from toolchain.models import is_own
    from toolchain.pruning import Budget, Choices
    from toolchain.pruning_job import prune_on, refuse_used, summary
    from toolchain.report.plan_text import show_plan
    from toolchain.trained_model import model_and_set, require_length, use_for_more_training

    choices = Choices(
        budget=Budget(keep=keep, macs_cut=macs_cut, params_cut=params_cut) if within is None else None,
        similarity=similarity,
        signature=signature,
        blocks=blocks,
        score=score,
        direction=direction,
        allot=latency["allot"] or ALLOTMENTS[0],
        units=units or None,
        seed=seed,
    )
    read = [Path(text) for text in (model_text,) if text is not None] + ([weights] if weights else [])
    read += [within.unit_latencies] if within is not None and within.unit_latencies else []
    refuse_used(out, replace=replace, read=read)
    if json_path not in (None, "-") and Path(str(json_path)).resolve().parent == out.resolve():
        raise ToolchainError(f"--json {json_path}: lies in the folder --out {out} that is written; name another place")
    use = use_in_words(classes=classes, snr_db=snr_db, split=split or SPLITS[0], seed=seed)
    asked = None if (classes, snr_db, split) == (None, None, None) else use
    with progress_bar(stderr, "prune") as progress:
        model, card, dataset = model_and_set(
            model_text, file, use, name=model_name, weights=weights, length=length, unknown_snr_db=unknown_snr_db,
            progress=progress,
        )  # fmt: skip
        if is_own(card.architecture) and weights is None and (model_text is None or is_own(model_text)):
            log.warning("no --weights: the model is pruned with the weights that %s gave it", card.architecture)
        require_length(dataset, card)
        use = use_for_more_training(dataset, card, asked) or use
        plan, read_latency = prune_on(
            dataset, use, model, card, choices, out, compared=frames, within=within, progress=progress
        )
    if json_path:
        told = {"model": str(model_text or model_name), "data": dataset.source, **summary(plan)}
        write_json(json_path, told if read_latency is None else {**told, "latency": read_latency})
    if json_path != "-":
        words = ["--teacher", str(model_text or model_name)] + (["--teacher-weights", str(weights)] if weights else [])
        if is_own(card.architecture):
            words += ["--model", card.architecture]
        show_plan(stdout(), plan, out, latency=read_latency, next_words=["--data", str(file), *words])
