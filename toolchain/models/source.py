"""The model that a command is given: a file that thinwave wrote, a name of the zoo, or the user's own code with weights."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from os import PathLike
from pathlib import Path

import torch
from torch import nn

from toolchain.errors import ModelError
from toolchain.models.building import build_model
from toolchain.models.files import ModelCard, distinct_names, fill, load_card, load_model, read_weights
from toolchain.models.own import DEFAULT_CLASSES, is_own
from toolchain.models.zoo import ARCHITECTURES

DEFAULT_LENGTH = 128


def open_model(
    text: str | None,
    *,
    name: str | None = None,
    weights: str | PathLike[str] | None = None,
    classes: Sequence[str] | int | None = None,
    length: int | None = None,
) -> tuple[nn.Module, ModelCard]:
    """The model that ``text`` or ``name`` mean, in evaluation mode, and its card.

    ``text`` is a thinwave file, or like ``name`` a row of the zoo or ``package.module:factory``; ``name`` beside a file lets
    the user's code that the file names run. ``weights`` are plain ones for a name; ``classes`` their names or number, and
    ``length`` the samples of a frame, where no file says them.

    Raises ModelError for what is none of these, or does not fit together.
    """
    is_file = (
        text is not None
        and text not in ARCHITECTURES
        and not is_own(text)
        and (Path(text).suffix or Path(text).exists())
    )
    if is_file:
        path = Path(str(text))
        if path.is_dir():
            inside = path / "model.safetensors"
            raise ModelError(
                f"{path}: is a folder, expected a file" + (f"; did you mean {inside}?" if inside.exists() else "")
            )
        if weights is not None:
            raise ModelError(
                f"{path} is a file already; give plain weights to a name: --model NAME --weights {weights}"
            )
        if load_card(path) is None:
            raise ModelError(
                f"{path}: plain weights do not say which model they belong to; name it: --model NAME --weights {path}, where "
                "NAME is of the zoo, or package.module:factory"
            )
        model, card = load_model(path, trusted=name)
        if name not in (None, card.architecture):
            raise ModelError(f"{path}: the file says {card.architecture} itself, and --model says {name}; leave it out")
        return model, card
    if text is not None and name is not None and text != name:
        raise ModelError(f'two models, "{text}" and --model {name}; expected one')
    asked = text or name
    if asked is None:
        raise ModelError("no model; expected a file that thinwave wrote, a name of the zoo, or package.module:factory")
    length = DEFAULT_LENGTH if length is None else length
    count, names = _classes(classes)
    if count is None and not is_own(asked):
        count = DEFAULT_CLASSES
    model = build_model(asked, count, length, generator=torch.Generator().manual_seed(0)).eval()
    if count is None:
        with torch.no_grad():
            count = model(torch.zeros(1, 2, length)).shape[1]
    if weights is not None:
        model = fill(weights, model, read_weights(weights))
    names = names or tuple(f"class {index}" for index in range(count))
    return model.eval(), ModelCard(architecture=asked, classes=names, length=length)


def _classes(classes: Sequence[str] | int | None) -> tuple[int | None, tuple[str, ...]]:
    """Their number and names, as far as they are given."""
    if classes is None or isinstance(classes, int | Integral):
        return (None if classes is None else int(classes)), ()
    try:
        names = distinct_names(classes)
    except (TypeError, ValueError) as error:
        raise ModelError(f"classes = {classes!r:.60}: expected distinct names, or their number") from error
    return len(names), names
