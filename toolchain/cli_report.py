"""``thinwave report``: what comparisons found, as one page and as tables. One command, one call."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.command_line import CONTEXT, JsonCommand, json_option, stdout, write_json
from toolchain.cli_options import require_extra

MANY = Path("runs", "report")


@click.command(
    cls=JsonCommand,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  thinwave report runs/compare\n"
    "  thinwave report runs/resnet runs/vgg --out runs/both\n"
    "  thinwave report runs/compare --baseline l1 --json",
)
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"Where the files are written. [default: the one DIR that is given; of several, {MANY}]",
)
@click.option(
    "--baseline", metavar="METHOD", help="The method that the others are held against. [default: the comparison's]"
)
@json_option
def report(folders: tuple[Path, ...], out: Path | None, baseline: str | None, json_path: str | None) -> None:
    """Write what `thinwave compare` found in DIR: report.html, which works offline, report.md, report.csv, report.json.

    Several DIRs are taken together. A winner is named only where the intervals over seeds say so.
    """
    require_extra("plotly", "jinja2")
    from toolchain.compared import read_compared
    from toolchain.report.comparison.summary import summary_of
    from toolchain.report.comparison.table import to_json
    from toolchain.report.comparison.terminal import show_comparison
    from toolchain.report.comparison.writing import write_summary

    summary = summary_of([read_compared(folder) for folder in folders], baseline)
    only = folders[0] if folders[0].is_dir() else folders[0].parent
    paths = write_summary(summary, out or (only if len(folders) == 1 else MANY))
    if json_path:
        write_json(json_path, to_json(summary))
    if json_path != "-":
        show_comparison(stdout(), summary, paths)
