"""Model files: one ``.safetensors`` that says all that is needed to build the model again.

Its metadata holds ``thinwave``, a JSON object: schema, architecture {name, classes, length}, class names, the units that
were dropped, the modules that were narrowed, the pruning plan and the training record. It is read without pickle, and without
the code that pruned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from deploy.errors import first_line
from toolchain.errors import ModelError
from toolchain.models.building import build_model
from toolchain.models.own import is_own
from toolchain.models.structure import Edit, edit_from_json, edited
from toolchain.models.widths import Width, narrowed, width_from_json
from toolchain.models.zoo import MOST

SCHEMA = 2

# The one input scaling that there is: each frame to unit RMS, inside the model (toolchain.models.scaling).
UNIT_RMS = "unit-rms"
# What torch.nn.DataParallel puts before the names of a model's weights.
PARALLEL = "module."


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a model file says of its model, beside the weights.

    ``architecture`` names a row of the zoo or is ``package.module:factory``; ``classes`` are the modulations in the
    order of the logits; ``length`` is in samples; ``dropped`` names the units that were pruned away, and ``edits`` did it;
    ``widths`` say which modules have fewer channels than their architecture makes them;
    ``scaling`` says how frames are scaled inside the model; ``plan`` and ``training`` are records, for people.
    """

    architecture: str
    classes: tuple[str, ...]
    length: int
    dropped: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    widths: tuple[Width, ...] = ()
    scaling: str = UNIT_RMS
    plan: Mapping[str, Any] | None = None
    training: Mapping[str, Any] = field(default_factory=dict)


def save_model(path: str | PathLike[str], model: nn.Module, card: ModelCard) -> None:
    """Write ``model`` and its ``card`` to ``path``."""
    # Each a copy: the file holds no two tensors that share memory, and models with tied weights have such.
    weights = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()}
    metadata = {"thinwave": json.dumps({"schema": SCHEMA, **asdict(card)}, sort_keys=True)}
    # Through Python's own file: a full disk is then an OSError, as everywhere.
    Path(path).write_bytes(save(weights, metadata))


def load_model(path: str | PathLike[str], *, trusted: str | None = None) -> tuple[nn.Module, ModelCard]:
    """Build the model that :func:`save_model` wrote, in evaluation mode.

    A model of the user's own code (``package.module:factory``) is built only where ``trusted`` names the same code.

    Raises ModelError, which names the file, where it is missing, damaged, of another kind, with weights that do not fit, or
    where the model that it describes does not turn a frame into logits.
    """
    path = Path(path)
    weights, metadata = _read_safetensors(path)
    if "thinwave" not in metadata:
        raise ModelError(
            f"{path}: the file holds weights but not which model they belong to; name it in a recipe, whose run writes a file "
            'that says it: [model] name = "resnet1d56", weights = "…"'
        )
    card = _read_card(path, metadata["thinwave"])
    if is_own(card.architecture) and trusted != card.architecture:
        raise ModelError(
            f"{path}: its model is built by {card.architecture}, code that is not thinwave's; to let that code run, say so "
            f"with --model {card.architecture}"
        )
    try:
        model = edited(build_model(card.architecture, len(card.classes), card.length), card.edits)
        model = narrowed(model, card.widths)
    except Exception as error:  # edits and widths that make no sense fail in many ways
        raise ModelError(f"{path}: its model cannot be built: {_first_line(error)}") from error
    model = fill(path, model, weights)
    _require_logits(path, model, card)
    return model, card


def _require_logits(path: Path, model: nn.Module, card: ModelCard) -> None:
    expected = (1, len(card.classes))
    try:
        with torch.no_grad():
            shape = tuple(model(torch.zeros(1, 2, card.length)).shape)
    except Exception as error:  # whatever modules raise that do not fit together
        shape, reason = None, f"fails on it: {_first_line(error)}"
    else:
        reason = f"makes {shape} of it"
    if shape != expected:
        raise ModelError(
            f"{path}: expected logits {expected} of a frame (1, 2, {card.length}), its model {reason}; the file's card is "
            "damaged, make the file again"
        )


def _first_line(error: Exception) -> str:
    return first_line(error)[:300]


def load_weights(path: str | PathLike[str], architecture: str, classes: int, length: int) -> nn.Module:
    """A model of the zoo, or the user's own, with plain weights: a ``.safetensors``, or a ``state_dict`` saved by PyTorch.

    The latter is read with ``weights_only``, which runs no code from the file.

    Raises ModelError for a file that is missing, damaged, of another kind, or with weights that do not fit.
    """
    path = Path(path)
    return fill(path, build_model(architecture, classes, length), read_weights(path))


def read_weights(path: str | PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or of a ``state_dict``, by name; raises as :func:`load_weights`."""
    path = Path(path)
    return _read_safetensors(path)[0] if path.suffix == ".safetensors" else _read_state_dict(path)


def load_card(path: str | PathLike[str]) -> ModelCard | None:
    """The card of a model file; None for plain weights, which say nothing of their model.

    Raises ModelError for a file that is missing or damaged.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        _read_state_dict(path)
        return None
    _, metadata = _read_safetensors(path)
    return _read_card(path, metadata["thinwave"]) if "thinwave" in metadata else None


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file; expected a model's weights (.safetensors, .pt or .pth)")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    _require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(
            f"{path}: not a readable .safetensors file ({error}); it may be damaged or cut short"
        ) from error


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    _require_file(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises whatever its unpickler met
        # torch's own words advise to run what is in the file: they are not passed on.
        raise ModelError(
            f"{path}: not a readable file of weights: damaged, or holding more than tensors; expected a state_dict saved "
            "with torch.save(model.state_dict(), …), or a .safetensors file"
        ) from error
    found = [state for state in (weights, *_inner(weights)) if _is_state_dict(state)]
    if len(found) != 1:
        held = (
            f" with the keys {', '.join(map(str, list(weights)[:5]))}" if isinstance(weights, dict) and weights else ""
        )
        raise ModelError(
            f"{path}: expected a state_dict (names to tensors), got {type(weights).__name__}{held}; save the weights alone, "
            "with torch.save(model.state_dict(), …)"
        )
    return dict(found[0])


def _inner(checkpoint: Any) -> list[Any]:
    """What training loops put a state_dict under, beside their epoch and optimizer."""
    keys = ("state_dict", "model_state_dict", "model") if isinstance(checkpoint, dict) else ()
    return [checkpoint[key] for key in keys if key in checkpoint]


def _is_state_dict(values: Any) -> bool:
    return (
        isinstance(values, dict)
        and bool(values)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in values.items())
    )


def _read_card(path: Path, text: str) -> ModelCard:
    try:
        values = json.loads(text)
        schema = values.pop("schema")
        if schema != SCHEMA:
            newer = type(schema) is int and schema > SCHEMA
            age = "a newer thinwave wrote it" if newer else "made by an older thinwave; make it again"
            raise ModelError(f"{path}: its schema is {schema}, this version reads {SCHEMA}; {age}")
        for name in ("classes", "dropped"):
            if not isinstance(values[name], list):
                raise TypeError(f"{name} is no list")
        values["classes"], values["dropped"] = distinct_names(values["classes"]), tuple(values["dropped"])
        values["edits"] = tuple(edit_from_json(edit) for edit in values["edits"])
        # A file from before there were any has none.
        values["widths"] = tuple(width_from_json(width) for width in values.get("widths", ()))
        card = ModelCard(**values)
        if card.scaling != UNIT_RMS:
            raise ModelError(f'{path}: its input scaling is "{card.scaling}", this version knows "{UNIT_RMS}" alone')
        sound = {
            "architecture": isinstance(card.architecture, str),
            "length": type(card.length) is int and 1 <= card.length <= MOST["length"],
            "dropped": all(isinstance(name, str) for name in card.dropped),
            "plan": card.plan is None or isinstance(card.plan, dict),
            "training": isinstance(card.training, dict),
        }
        wrong = [name for name, right in sound.items() if not right]
        if wrong:
            raise TypeError(f"{', '.join(wrong)}: not as save_model writes it")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{path}: the model card in its metadata cannot be read ({why}); it is damaged, make the file again"
        ) from error
    return card


def distinct_names(classes: Sequence[Any]) -> tuple[str, ...]:
    """The names of ``classes``, in the order of the logits; ValueError unless they are distinct strings, one at least."""
    names = tuple(classes)
    strings = not isinstance(classes, str) and all(isinstance(name, str) for name in names)
    if not names or not strings or len(set(names)) < len(names):
        raise ValueError(f"classes are {classes!r:.60}, expected a list of distinct names")
    return names


def fill(path: str | PathLike[str], model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """``model`` with the ``weights`` that ``path`` holds, in evaluation mode; ModelError by name where they do not fit.

    The "module." that DataParallel puts before each name is taken off.
    """
    expected = model.state_dict()
    if all(name.startswith(PARALLEL) for name in weights) and not any(name.startswith(PARALLEL) for name in expected):
        weights = {name.removeprefix(PARALLEL): tensor for name, tensor in weights.items()}
    missing, extra = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    if missing or extra:
        raise ModelError(
            f"{path}: the weights do not fit the model: {_some(missing, 'missing')}, {_some(extra, 'not in the model')}"
        )
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise ModelError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the model expects {tuple(expected[name].shape)}"
            )
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: {name} holds NaN or infinity; the training that made the file went wrong")
    model.load_state_dict(dict(weights))
    return model.eval()


def _some(names: set[str], what: str) -> str:
    shown = ", ".join(sorted(names)[:3])
    return f"{len(names)} {what}" + (f" ({shown}{', …' if len(names) > 3 else ''})" if names else "")
