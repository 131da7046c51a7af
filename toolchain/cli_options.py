"""Options and checks that several of ``thinwave``'s commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import reduce
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from toolchain.errors import ToolchainError

# What the `toolchain` extra brings and a device lacks, that training and exporting import.
EXTRA = ("torch", "lightning_fabric", "onnx", "onnxscript", "safetensors", "matplotlib")

# The names of toolchain.models.ARCHITECTURES, which takes torch to import; a test holds the two equal.
ARCHITECTURES = (
    "resnet1d20",
    "resnet1d56",
    "resnet1d110",
    "resnet56",
    "resnet110",
    "vgg16",
    "vgg1d16",
    "transformer",
    "cnn1d",
    "vt-cnn2",
    "cnn2",
    "mcldnn",
    "pet-cgdnn",
    "lstm2",
    "signet50",
)

# The names of toolchain.data.CONVENTIONS, which takes numpy to import.
SPLITS = ("stratified", "amr-benchmark", "sequential-80-20", "own")

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

data_option = click.option(
    "--data", "file", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The frames."
)
remembered_split_option = click.option(
    "--split",
    type=click.Choice(SPLITS),
    help=f"How a set is split that MODEL's file does not remember. [default: {SPLITS[0]}]",
)
set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Change one value of the recipe; may be given again. Files named here are looked for from the current "
    "folder, those in the recipe from its own.",
)
replace_option = click.option("--replace", is_flag=True, help="Write over a file that is there already.")


def selection_options(command: Decorated) -> Decorated:
    """Give a command the options that keep a part of a set, and say what a recording does not."""
    options = (
        click.option("--classes", metavar="A,B,...", help="Keep these classes, numbered in this order."),
        click.option("--snr-db", metavar="SNRS", help="Keep these SNRs: 10:18 or 10: (from, to), 0,10,20, or 0:18:2."),
        click.option(
            "--length", type=click.IntRange(min=1), help="Cut a SigMF recording into frames of so many samples."
        ),
        click.option(
            "--unknown-snr-db", type=float, metavar="DB", help="The SNR of what a SigMF recording says none of."
        ),
    )
    return reduce(lambda decorated, option: option(decorated), reversed(options), command)


def model_options(command: Decorated) -> Decorated:
    """Give a command its MODEL, and what says which model plain weights belong to."""
    options = (
        click.argument("model_text", metavar="[MODEL]", required=False, callback=_some_model),
        click.option(
            "--model",
            "model_name",
            metavar="NAME",
            help="Which model plain weights belong to: of the zoo, or package.module:factory. Beside a file that names "
            "code of yours: let that code run.",
        ),
        click.option(
            "--weights",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Plain weights: a .safetensors, or a state_dict saved by PyTorch, read with weights_only.",
        ),
    )
    return reduce(lambda decorated, option: option(decorated), reversed(options), command)


def _some_model(context: click.Context, argument: click.Parameter, value: str | None) -> str | None:
    # Options that were given are read before an argument that was not. A missing argument is what lets JsonCommand know that
    # the word behind --json was it.
    if value is None and context.params.get("model_name") is None:
        raise click.MissingParameter(
            "expected a file that thinwave wrote, or --model NAME with --weights FILE", context, argument
        )
    return value


def writable_output(context: click.Context, argument: click.Parameter, value: Path) -> Path:
    """Refuse, as a callback, an output that is no regular file, or whose folder is not there or may not be written to."""
    if value.is_dir():
        raise click.BadParameter(f"{value} is a folder; expected a file to write", context, argument)
    if not value.parent.is_dir():
        raise click.BadParameter(f"there is no folder {value.parent}; make it first", context, argument)
    # A device or a pipe would be replaced by a file.
    if value.exists() and not value.is_file():
        raise click.BadParameter(f"{value} is no regular file", context, argument)
    if not os.access(value.parent, os.W_OK):
        raise click.BadParameter(f"{value} may not be written", context, argument)
    return value


def refuse_existing(path: Path, *, replace: bool, read: Path | None = None) -> None:
    """Raise ToolchainError where ``path`` is there already, unless ``replace``; and always where it is what is ``read``."""
    if not path.exists():
        return
    if read is not None and read.exists() and any(path.samefile(file) for file in files_read(read)):
        raise ToolchainError(f"{path}: is what is read; name another file to write, so that nothing is lost")
    if not replace:
        raise ToolchainError(f"{path}: is there already; name another file, or write over it with --replace")


def files_read(path: Path) -> tuple[Path, ...]:
    """The files that a set at ``path`` is read from, as far as they are there."""
    from toolchain.data import files_of_set

    return tuple(file for file in files_of_set(path) if file.exists())


def make_folder(path: Path) -> None:
    """Make the folder ``path`` before any work; raise ToolchainError where it cannot be, or may not be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolchainError(f"{path}: cannot be made a folder: {error.strerror}; name another") from error
    if not os.access(path, os.W_OK):
        raise ToolchainError(f"{path}: may not be written to; name another folder")


def require_extra(*modules: str) -> None:
    """Raise ToolchainError where the toolchain extra (or those of its modules that are named) is not installed."""
    missing = [name for name in modules or EXTRA if find_spec(name) is None]
    if missing:
        raise ToolchainError(
            f"this command needs {', '.join(missing)}, which a device installation leaves out; install with\n"
            '  pip install "thinwave[toolchain]"'
        )
