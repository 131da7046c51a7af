"""The model that a command is given: a file that thinwave wrote, a name of the zoo, or the user's own code with weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from toolchain.errors import ModelError
from toolchain.models.building import build_model
from toolchain.models.files import ModelCard, fill, load_card, load_model, read_weights
from toolchain.models.own import build_own, is_own

DEFAULT_CLASSES, DEFAULT_LENGTH = 11, 128


def open_model(
    text: str | None,
    *,
    name: str | None = None,
    weights: Path | None = None,
    classes: Sequence[str] | int | None = None,
    length: int | None = None,
) -> tuple[nn.Module, ModelCard]:
    """The model that ``text`` or ``name`` mean, in evaluation mode, and its card.

    ``text`` is a thinwave file, or like ``name`` a row of the zoo or ``package.module:factory``; ``name`` beside a file lets
    the user's code that the file names run. ``weights`` are plain ones for a name; ``classes`` their names or number, and
    ``length`` the samples of a frame, where no file says them.

    Raises ModelError for what is none of these, or does not fit together.
    """
    is_file = text is not None and not is_own(text) and (Path(text).suffix != "" or Path(text).exists())
    if is_file:
        path = Path(str(text))
        if weights is not None:
            raise ModelError(
                f"{path} is a file already; give plain weights to a name: --model NAME --weights {weights}"
            )
        if load_card(path) is None:
            raise ModelError(
                f"{path}: plain weights do not say which model they belong to; name it: --model NAME --weights {path}, where "
                "NAME is of the zoo, or package.module:factory"
            )
        return load_model(path, trusted=name)
    if text is not None and name is not None and text != name:
        raise ModelError(f'two models, "{text}" and --model {name}; expected one')
    asked = text or name
    if asked is None:
        raise ModelError("no model; expected a file that thinwave wrote, a name of the zoo, or package.module:factory")
    length = length or DEFAULT_LENGTH
    count = classes if isinstance(classes, int) or classes is None else len(classes)
    if is_own(asked) and count is None:
        model = build_own(asked, None, length)
        with torch.no_grad():
            count = model.eval()(torch.zeros(1, 2, length)).shape[1]
    else:
        count = count or DEFAULT_CLASSES
        generator = torch.Generator().manual_seed(0)
        model = build_model(asked, count, length, generator=generator)
    if weights is not None:
        model = fill(weights, model, read_weights(weights))
    names = tuple(f"class {index}" for index in range(count)) if isinstance(classes, int | None) else tuple(classes)
    return model.eval(), ModelCard(architecture=asked, classes=names, length=length)
