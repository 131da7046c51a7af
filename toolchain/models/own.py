"""A user's own model: ``package.module:factory``, a function (or class) that gives an ``nn.Module``.

It is the user's code that runs then, so it is only imported where the user has named it: never because a file says so.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from toolchain.errors import ModelError
from toolchain.models.zoo import positive

# Modulations of a factory that must be told a number, where nobody says one.
DEFAULT_CLASSES = 11


def is_own(name: str) -> bool:
    """Whether ``name`` is that of a factory and not of a row of the zoo."""
    return isinstance(name, str) and ":" in name


def build_own(name: str, classes: int | None, length: int) -> nn.Module:
    """Call the factory ``name``, with ``classes=`` and ``length=`` where it takes them.

    ``classes`` None is its own number, or 11 where it must be told one. Modules are looked for in the working directory too.

    Raises ModelError for a factory that is not there, that fails, or that gives no model for frames (batch, 2, length) and
    ``classes`` modulations.
    """
    classes, length = None if classes is None else positive("classes", classes), positive("length", length)
    factory = factory_of(name)
    try:
        parameters = dict(inspect.signature(factory).parameters)
    except (TypeError, ValueError):  # a callable that says nothing of itself
        parameters = {}
    given = {"classes": classes, "length": length}
    if classes is None and "classes" in parameters and parameters["classes"].default is inspect.Parameter.empty:
        given["classes"] = DEFAULT_CLASSES
    try:
        model = factory(**{key: value for key, value in given.items() if key in parameters and value is not None})
    except (Exception, SystemExit) as error:  # the user's code
        raise ModelError(f"{name}: the call failed: {_first_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{name}: expected a function that gives an nn.Module, it gave {type(model).__name__}")
    _check_answers(name, model, classes, length)
    return model


def factory_of(name: str) -> Callable[..., Any]:
    """What the user's ``package.module:factory`` names; its module is imported.

    Raises ModelError for what is not there, or fails.
    """
    place, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*place.split("."), *attribute.split("."))):
        raise ModelError(f'model "{name}": expected package.module:factory')
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(place)
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise ModelError(f'{name}: the module {place} has no "{attribute}"') from error
    except (Exception, SystemExit) as error:  # the user's code
        raise ModelError(
            f"{name}: cannot be imported: {_first_line(error)}; expected package.module:factory"
        ) from error
    if not callable(found):
        raise ModelError(f"{name}: is {type(found).__name__}; expected a function that gives an nn.Module")
    return found  # type: ignore[no-any-return]


def _check_answers(name: str, model: nn.Module, classes: int | None, length: int) -> None:
    training = model.training
    try:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(2, 2, length))
    except Exception as error:  # the user's code
        raise ModelError(
            f"{name}: the model fails on frames (batch, 2, {length}): {_first_line(error)}; expected a model that takes "
            "float32 (batch, 2, length)"
        ) from error
    finally:
        model.train(training)
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if len(shape) != 2 or shape[0] != 2 or classes not in (None, shape[1]):
        raise ModelError(
            f"{name}: of 2 frames of {length} samples the model makes {shape}; expected logits (2, {classes or 'classes'}), "
            "one a class. Let the factory take classes= and length="
        )


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
