"""``thinwave``: the commands for the workstation, and those of ``thinwave-device``.

One command, one call. What a command needs is imported when it runs, so that ``--help`` answers at once, and without
torch.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import as_file, files
from pathlib import Path

import click

from deploy.cli import DEVICE_COMMANDS
from deploy.command_line import CONTEXT, end_on_sigterm, run_command_line, stderr, stdout
from toolchain.cli_comparison import compare
from toolchain.cli_data import data
from toolchain.cli_estimate import estimate
from toolchain.cli_export import export
from toolchain.cli_models import evaluate
from toolchain.cli_options import require_extra, set_option
from toolchain.cli_pruning import cost, prune
from toolchain.cli_report import report
from toolchain.cli_training import finetune, train
from toolchain.errors import ToolchainError

QUICKSTART_FOLDER = Path("runs", "quickstart")

folder_option = click.Path(path_type=Path, file_okay=True)
replace_option = click.option(
    "--replace", is_flag=True, help="Take a folder that holds another recipe's run, and reuse what still fits."
)


@click.command(
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave run recipes/quickstart.toml --out runs/half --set plan.keep=0.5\n"
    "  thinwave run my.toml --set model.weights=trained.safetensors\n"
    "\nThe same command again goes on after the last finished stage.",
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", type=folder_option, help="Folder of the run. [default: runs/NAME, after the recipe's file]")
@set_option
@replace_option
def run(recipe: Path, out: Path | None, assignments: tuple[str, ...], replace: bool) -> None:
    """Run RECIPE: data, train, plan, finetune, export, profile, report."""
    require_extra()
    _run(recipe, out or Path("runs", recipe.stem), assignments, replace=replace)


@click.command(
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave quickstart\n"
    "  thinwave quickstart --data RML2016.10a_dict.pkl --out runs/rml2016\n"
    "\nThe same command again goes on after the last finished stage.",
)
@click.option(
    "--data", "data_file", metavar="FILE", type=click.Path(), help="Frames of your own instead of generated ones."
)
@click.option("--out", type=folder_option, default=QUICKSTART_FOLDER, show_default=True, help="Folder of the run.")
@set_option
@replace_option
def quickstart(data_file: str | None, out: Path, assignments: tuple[str, ...], replace: bool) -> None:
    """The whole way in a few minutes: train a receiver model, prune it, export it, measure it."""
    require_extra()
    with as_file(files("toolchain.recipes") / "quickstart.toml") as recipe:
        # As a TOML string, whatever the name looks like.
        changes = [
            *assignments,
            *([] if data_file is None else [f"data.file={json.dumps(data_file, ensure_ascii=False)}"]),
        ]
        _run(recipe, out, tuple(changes), replace=replace)


def _run(recipe_path: Path, out: Path, assignments: tuple[str, ...], *, replace: bool) -> None:
    from toolchain.recipe import read_recipe, with_threads

    recipe = with_threads(read_recipe(recipe_path, assignments))
    from toolchain.pipeline import run_recipe
    from toolchain.report.terminal import TerminalView, show_results

    view = TerminalView(stdout(), bars=stderr)
    try:
        results = run_recipe(recipe, out, view, replace=replace)
    except KeyboardInterrupt:
        click.echo(f"What was finished is in {out}; the same command goes on from there.", err=True)
        raise
    if not view.made:
        click.echo("This run was finished before; nothing was computed again.")
    show_results(stdout(), results, out)


@click.group(
    context_settings=CONTEXT,
    commands=[
        run,
        quickstart,
        compare,
        data,
        train,
        evaluate,
        cost,
        prune,
        finetune,
        export,
        estimate,
        report,
        *DEVICE_COMMANDS,
    ],
)
@click.version_option(package_name="thinwave", prog_name="thinwave")
def thinwave() -> None:
    """Make a modulation recognition model small enough for the edge, and show what that cost.

    `run`, `quickstart`, `compare`, `train`, `evaluate`, `cost`, `prune`, `finetune`, `export`, `estimate` and `report` need
    the toolchain extra, `data inspect --plots` matplotlib of it; the others also work on a device that has no torch.
    """


def main() -> None:
    """Run ``thinwave`` and end the process with its exit code."""
    end_on_sigterm()
    sys.exit(run_command_line(thinwave, program="thinwave", user_errors=(ToolchainError,)))


if __name__ == "__main__":
    main()
