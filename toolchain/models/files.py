"""Model files: one ``.safetensors`` that says all that is needed to build the model again.

Its metadata holds ``thinwave``, a JSON object: schema, architecture {name, classes, length}, class names, the units that
were dropped, the pruning plan and the training record. It is read without pickle, and without the code that pruned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from toolchain.errors import ModelError
from toolchain.models.building import build_model
from toolchain.models.own import is_own
from toolchain.models.structure import Edit, edit_from_json, edited

SCHEMA = 2

# The one input scaling that there is: each frame to unit RMS, inside the model (toolchain.models.scaling).
UNIT_RMS = "unit-rms"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a model file says of its model, beside the weights.

    ``architecture`` names a row of the zoo or is ``package.module:factory``; ``classes`` are the modulations in the
    order of the logits; ``length`` is in samples; ``dropped`` names the units that were pruned away, and ``edits`` did it;
    ``scaling`` says how frames are scaled inside the model; ``plan`` and ``training`` are records, for people.
    """

    architecture: str
    classes: tuple[str, ...]
    length: int
    dropped: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    scaling: str = UNIT_RMS
    plan: Mapping[str, Any] | None = None
    training: Mapping[str, Any] = field(default_factory=dict)


def save_model(path: Path, model: nn.Module, card: ModelCard) -> None:
    """Write ``model`` and its ``card`` to ``path``."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    metadata = {"thinwave": json.dumps({"schema": SCHEMA, **asdict(card)}, sort_keys=True)}
    # Through Python's own file: a full disk is then an OSError, as everywhere.
    path.write_bytes(save(weights, metadata))


def load_model(path: Path, *, trusted: str | None = None) -> tuple[nn.Module, ModelCard]:
    """Build the model that :func:`save_model` wrote, in evaluation mode.

    A model of the user's own code (``package.module:factory``) is built only where ``trusted`` names the same code.

    Raises ModelError for a file that is missing, damaged, of another kind, or with weights that do not fit.
    """
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
    model = build_model(card.architecture, len(card.classes), card.length)
    return fill(path, edited(model, card.edits), weights), card


def load_weights(path: Path, architecture: str, classes: int, length: int) -> nn.Module:
    """A model of the zoo, or the user's own, with plain weights: a ``.safetensors``, or a ``state_dict`` saved by PyTorch.

    The latter is read with ``weights_only``, which runs no code from the file.

    Raises ModelError for a file that is missing, damaged, of another kind, or with weights that do not fit.
    """
    return fill(path, build_model(architecture, classes, length), read_weights(path))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or of a ``state_dict``, by name; raises as :func:`load_weights`."""
    return _read_safetensors(path)[0] if path.suffix == ".safetensors" else _read_state_dict(path)


def load_card(path: Path) -> ModelCard | None:
    """The card of a model file; None for plain weights, which say nothing of their model.

    Raises ModelError for a file that is missing or damaged.
    """
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
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ModelError(f"{path}: expected a state_dict (names to tensors), got {type(weights).__name__}")
    return weights


def _read_card(path: Path, text: str) -> ModelCard:
    try:
        values = json.loads(text)
        schema = values.pop("schema")
        if schema != SCHEMA:
            raise ModelError(f"{path}: its schema is {schema}, this version reads {SCHEMA}; a newer thinwave wrote it")
        values["classes"], values["dropped"] = tuple(values["classes"]), tuple(values["dropped"])
        values["edits"] = tuple(edit_from_json(edit) for edit in values["edits"])
        card = ModelCard(**values)
        sound = isinstance(card.architecture, str) and type(card.length) is int and 1 <= card.length <= 1 << 20
        sound = sound and bool(card.classes)
        if card.scaling != UNIT_RMS:
            raise ModelError(f'{path}: its input scaling is "{card.scaling}", this version knows "{UNIT_RMS}" alone')
        if not sound or not all(isinstance(name, str) for name in (*card.classes, *card.dropped)):
            raise ValueError("wrong types")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: the model card in its metadata cannot be read ({error}); it is damaged") from error
    return card


def fill(path: Path, model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """``model`` with the ``weights`` that ``path`` holds, in evaluation mode; ModelError by name where they do not fit."""
    expected = model.state_dict()
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
