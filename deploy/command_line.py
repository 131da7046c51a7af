"""What every thinwave command line shares: how it ends, and where it writes.

A user's mistake ends in one message on stderr and exit code 2, Ctrl-C in exit code 130; a traceback is for our own
mistakes. ``thinwave-device`` runs through :func:`run_command_line`, and ``thinwave`` with its own errors added.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.logging import RichHandler

from deploy.errors import DeployError

USER_MISTAKE = 2
INTERRUPTED = 130
TERMINATED = 143

# What a user can mend about files; any other OSError is ours.
MENDABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EFBIG,
    errno.EIO,
    errno.EMFILE,
    errno.ENOLCK,
}

# `-h` works wherever `--help` does.
CONTEXT = {"help_option_names": ["-h", "--help"]}


def _console(*, to_stderr: bool) -> Console:
    # Paths and names are the user's: "[1]" in one of them is no markup of rich's, nor ":key:" an emoji.
    return Console(stderr=to_stderr, markup=False, emoji=False, highlight=False)


# One console for errors, log lines and progress bars, so that a line above a bar does not tear it.
stderr = _console(to_stderr=True)

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def run_command_line(
    command: click.Command,
    arguments: Sequence[str] | None = None,
    *,
    program: str = "thinwave",
    user_errors: tuple[type[Exception], ...] = (),
) -> int:
    """Run ``command`` on ``arguments`` (by default the process's own) and return the exit code.

    DeployError and ``user_errors``, wrong usage, and files that are missing, not permitted or do not fit on the disk
    are told in one message. Every other exception passes through.
    """
    mendable: tuple[type[Exception], ...] = (DeployError, *user_errors)
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=stderr, show_time=False, show_path=False)],
    )
    try:
        # Not standalone: click would print its errors in its own form and end the process.
        code = command.main(args=arguments, prog_name=program, standalone_mode=False)
    except click.Abort as aborted:
        # click takes every EOFError for Ctrl-D; one that a file reader raised is our mistake.
        if isinstance(aborted.__cause__, EOFError):
            raise
        _say("stopped")
        return INTERRUPTED
    except KeyboardInterrupt:
        _say("stopped")
        return INTERRUPTED
    except click.ClickException as error:
        return _wrong_usage(error)
    except mendable as error:
        return _mistake(str(error))
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        place = f"{error.filename}: " if error.filename else ""
        return _mistake(f"{place}{error.strerror}")
    except MemoryError as error:
        return _mistake(f"this does not fit into memory: {error}" if str(error) else "this does not fit into memory")
    # click returns the code of --help and --version, and otherwise what the command returned: nothing.
    return code if isinstance(code, int) else 0


class JsonCommand(click.Command):
    """A command with ``--json [FILE]``, which also understands ``command --json ARGUMENT``: the argument is no FILE."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; where one is missing that stands behind ``--json``, let it be the argument."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as wrong:  # of which a missing argument is one kind
            if "--json" not in given[:-1]:
                raise
            given.remove("--json")
            try:
                return super().parse_args(ctx, [*given, "--json"])
            except click.UsageError:
                raise wrong from None


def end_on_sigterm() -> None:
    """Let SIGTERM (``kill``, a batch system, a container's stop) end this process as an exception does: cleaning up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))


def json_option(command: Decorated) -> Decorated:
    """Give a command ``--json [FILE]``, stdout if no FILE follows; that it may be written is known before the work."""
    return click.option(
        "--json",
        "json_path",
        metavar="[FILE]",
        is_flag=False,
        flag_value="-",
        callback=_json_file,
        help="Write the result as JSON to FILE; without FILE, to stdout instead of the table.",
    )(command)


def stdout() -> Console:
    """Return a console for results, on what stdout is now."""
    return _console(to_stderr=False)


def write_json(json_path: str, data: object) -> None:
    """Write ``data`` as JSON to the file, or to stdout where it is ``-``."""
    text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)
    if json_path == "-":
        click.echo(text)
        return
    try:
        Path(json_path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        # A disk that fills up while it is written does not say which file that was.
        raise OSError(error.errno, error.strerror, json_path) from error


def writable_file(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Refuse, as an option's callback, a file that could not be written when the work is done; ``-`` is stdout."""
    if value is None or value == "-":
        return value
    path = Path(value)
    if path.is_dir():
        raise click.BadParameter(f"{value!r} is a folder; expected a file to write", context, option)
    if not path.parent.is_dir():
        raise click.BadParameter(f"there is no folder {path.parent}; make it first", context, option)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise click.BadParameter(f"{value} may not be written", context, option)
    return value


def _json_file(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Also refuse a file that holds something else: a name meant for the next argument would be written over."""
    if writable_file(context, option, value) not in (None, "-"):
        path = Path(str(value))
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                if file.read(1) not in (b"{", b"["):
                    raise click.BadParameter(f"{value} is there already and is no JSON", context, option)
    return value


def _wrong_usage(error: click.ClickException) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return _mistake(error.format_message())
    if error.format_message() == context.get_help():
        # A group called without a command: click's message is the help itself.
        click.echo(error.format_message(), err=True)
        return USER_MISTAKE
    return _mistake(f"{error.format_message()}\n{context.get_usage()}\n`{context.command_path} --help` tells more")


def _mistake(message: str) -> int:
    _say(f"error: {message}")
    return USER_MISTAKE


def _say(message: str) -> None:
    # soft_wrap: a path broken over two lines cannot be copied.
    stderr.print(f"thinwave: {message}", soft_wrap=True)
