"""``thinwave compare``: methods against each other, on any data. One command, one call."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from deploy.command_line import CONTEXT, stderr
from toolchain.cli_options import require_extra


@click.command(
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave compare recipes/compare.toml\n"
    "  thinwave compare my.toml --out runs/mine --set compare.seeds=[1,2,3,4,5]\n"
    "  thinwave compare my.toml --ray local\n"
    "  thinwave compare my.toml --ray 10.0.0.5:6379\n"
    "\n\bThe same command again goes on with what is missing, and tries again what failed; more methods, budgets, seeds, "
    "models or data sets add only their cells.",
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the comparison. [default: runs/NAME, after the recipe's file]",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Change one value of the recipe; may be given again. Files named here are looked for from the current "
    "folder, those in the recipe from its own.",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Train on the Ray cluster there, or on all cores here with `local`. Latencies are always measured on this machine. "
    "[default: here, one by one]",
)
@click.option(
    "--replace", is_flag=True, help="Take a folder that holds another recipe's comparison; what fits is kept."
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON instead, as in compare.json.")
def compare(
    recipe: Path, out: Path | None, assignments: tuple[str, ...], ray: str | None, replace: bool, as_json: bool
) -> None:
    """Compare methods x budgets x seeds x models x data sets, as RECIPE says, all fine-tuned and measured alike.

    A cell that fails is named in the table with its reason; the rest goes on, and the exit code is 1 then.
    """
    require_extra()
    from deploy.progress import progress_bar
    from toolchain.comparison.recipe import read_comparison

    read = read_comparison(recipe, assignments)
    folder = out or Path("runs", recipe.stem)
    from toolchain.comparison.start import compare as run

    try:
        with progress_bar(stderr, "compare") as progress:
            compared = run(read, folder, ray=ray, replace=replace, progress=progress)
    except KeyboardInterrupt:
        click.echo(f"What was finished is in {folder}; the same command goes on from there.", err=True)
        raise
    failed = [cell for cell in compared.cells if cell.failed is not None]
    if as_json:
        click.echo(json.dumps(compared.to_json()))
    for cell in failed:
        click.echo(
            f"failed: {cell.method}, {cell.budget}, {cell.model} on {cell.data}, seed {cell.seed}: {cell.failed}",
            err=True,
        )
    if failed:
        sys.exit(1)
