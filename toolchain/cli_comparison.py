"""``thinwave compare``: methods against each other, on any data. One command, one call."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from deploy.command_line import CONTEXT, JsonCommand, json_option, stderr, stdout, write_json
from toolchain.cli_options import EXTRA, require_extra, set_option


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave compare recipes/compare.toml\n"
    "  thinwave compare my.toml --out runs/mine --set compare.seeds=[1,2,3,4,5]\n"
    "  thinwave compare my.toml --ray local\n"
    "  thinwave compare my.toml --ray 10.0.0.5:6379\n"
    "\nThe same command again goes on with what is missing, and tries again what failed; more methods, budgets, seeds, "
    "models or data sets add only their cells, and time anew the rows that they are in.",
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the comparison. [default: runs/NAME, after the recipe's file]",
)
@set_option
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Train on the Ray cluster there, of which this machine is a node, or on all cores here with `local`. Latencies are "
    "always measured on this machine. [default: here, one by one]",
)
@click.option(
    "--replace", is_flag=True, help="Take a folder that holds another recipe's comparison; what fits is kept."
)
@click.option(
    "--measure-again", is_flag=True, help="Measure what was measured before anew, as after something else was running."
)
@json_option
def compare(
    recipe: Path,
    out: Path | None,
    assignments: tuple[str, ...],
    ray: str | None,
    replace: bool,
    measure_again: bool,
    json_path: str | None,
) -> None:
    """Compare methods x budgets x seeds x models x data sets, as RECIPE says, all fine-tuned and measured alike.

    Leaves report.html and the same in other forms, compare.json, and every model. What fails is named there with its reason;
    the rest goes on, and the exit code is 1 then.
    """
    require_extra(*EXTRA, "torch_pruning", "plotly", "jinja2")
    from deploy.progress import progress_bar
    from toolchain.comparison.recipe import read_comparison

    read = read_comparison(recipe, assignments)
    folder = out or Path("runs", recipe.stem)
    from toolchain.comparison.start import compare as run
    from toolchain.comparison.table import told_failures
    from toolchain.report.comparison.summary import summary_of
    from toolchain.report.comparison.terminal import show_comparison
    from toolchain.report.comparison.writing import write_summary

    try:
        # What a user's model prints is no result.
        with progress_bar(stderr, "compare") as progress, redirect_stdout(sys.stderr):
            compared = run(read, folder, ray=ray, replace=replace, measure_again=measure_again, progress=progress)
    except KeyboardInterrupt:
        click.echo(f"What was finished is in {folder}; the same command goes on from there.", err=True)
        raise
    summary = summary_of([compared])
    paths = write_summary(summary, folder)
    if json_path:
        write_json(json_path, compared.to_json())
    if json_path != "-":
        show_comparison(stdout(), summary, paths)
    failures = told_failures(compared)
    for line in failures:
        click.echo(line, err=True)
    if failures:
        click.echo("The same command tries again what failed.", err=True)
        click.get_current_context().exit(1)
