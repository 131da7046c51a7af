"""Options that several of the device's commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from deploy.command_line import Decorated
from deploy.names import PRECISIONS, RUNTIME_NAMES, Precision
from deploy.suggestion import none_named

FOLDER = click.Path(path_type=Path)


def precision_option(*, default: Precision | None = None, help: str) -> Callable[[Decorated], Decorated]:  # noqa: A002
    """``--precision NAME``; ``help`` says what is taken where there is no ``default``."""
    return click.option(
        "--precision", type=click.Choice(PRECISIONS), default=default, show_default=default is not None, help=help
    )


def runtime_option(*, default: str | None, best: bool, help: str) -> Callable[[Decorated], Decorated]:  # noqa: A002
    """``--runtime NAME``, ``best`` among the names or not; one that is misspelled is told before any work."""
    names = (*RUNTIME_NAMES, "best") if best else RUNTIME_NAMES

    def known(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
        if value is not None and value not in names:
            raise click.BadParameter(none_named("runtime", value, names), context, option)
        return value

    return click.option(
        "--runtime", metavar="NAME", callback=known, default=default, show_default=default is not None, help=help
    )


threads_option = click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads, as many as cores at most."
)
