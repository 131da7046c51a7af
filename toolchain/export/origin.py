"""What a bundle is made from: a model of torch, or an ONNX file, somebody else's too."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from deploy.errors import RuntimeRefusedError
from deploy.runtimes import open_runtime
from toolchain.cost import cost
from toolchain.errors import ExportError
from toolchain.export.layers import layers_of
from toolchain.export.onnx_file import OPSET, export_onnx
from toolchain.models import ModelCard
from toolchain.training import logits_of

log = logging.getLogger(__name__)

# int8 by channel needs 13; older files are brought to what this writes itself.
LEAST_OPSET = 13


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A model to be exported: what it is called, what it takes and gives, and how it answers.

    ``write`` writes it in fp32 to a path; ``logits`` are its own (n, classes) of frames (n, 2, length), float32. ``plan`` says
    what was pruned away. ``runs_in`` names what computes the logits.
    """

    name: str
    classes: tuple[str, ...]
    length: int
    scaling: str
    params: int
    macs: int
    write: Callable[[Path], None]
    logits: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    runs_in: str
    plan: Mapping[str, Any] | None = None


def from_model(model: nn.Module, card: ModelCard) -> Origin:
    """A trained ``model`` of torch; its logits are torch's."""
    weight = cost(model, (2, card.length))
    if weight.uncounted:
        log.warning("the MACs of %s are not known and not counted", ", ".join(weight.uncounted))
    return Origin(
        name=card.architecture + (f", {len(card.dropped)} units dropped" if card.dropped else ""),
        classes=card.classes,
        length=card.length,
        scaling="any: the graph scales each frame to unit RMS",
        params=weight.params,
        macs=weight.macs,
        write=lambda path: export_onnx(model, path, classes=card.classes, length=card.length),
        logits=lambda frames: logits_of(model, frames).numpy(),
        runs_in="torch",
        plan=None if card.plan is None else {"dropped": list(card.dropped), "settings": card.plan.get("settings")},
    )


def from_onnx(path: Path, classes: Sequence[str] | None) -> Origin:
    """The fp32 ONNX file at ``path``; its logits are ONNX Runtime's.

    ``classes`` name its logits where its metadata do not.

    Raises ExportError for a file that is no such model, and for names that are not as many as its logits.
    """
    model = _opened(path)
    length, logits = _signature(path, model)
    found = _classes_in(model)
    names = tuple(found or classes or ())
    if len(names) != logits or len(set(names)) != len(names):
        where = "its metadata name" if found else "expected with --classes, in the order of the logits; got"
        raise ExportError(f"{path}: gives {logits} logits; {where} {len(names)} classes: {', '.join(names)}")
    layers = layers_of(path)
    if unknown := [layer.name for layer in layers if layer.macs is None]:
        log.warning("the MACs of %s are not known and not counted", ", ".join(unknown))

    def answered(frames: NDArray[np.float32]) -> NDArray[np.float32]:
        with open_runtime("onnxruntime", path) as runtime:
            return runtime.run(frames)

    return Origin(
        name=path.name,
        classes=names,
        length=length,
        scaling="as the ONNX file does it",
        params=sum(
            prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT
        ),
        macs=sum(layer.macs or 0 for layer in layers),
        write=lambda place: _write_prepared(model, path, place),
        logits=answered,
        runs_in="ONNX Runtime",
    )


def _opened(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # protobuf's and onnx's errors have no base of their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"{path}: is no ONNX model: {reason}") from error
    return model


def _signature(path: Path, model: onnx.ModelProto) -> tuple[int, int]:
    """The samples of a frame and the number of logits."""
    try:
        # What a runtime sees: initialisers that are listed as inputs are none.
        with open_runtime("onnxruntime", path) as runtime:
            length = runtime.length
            if length is None:
                raise ExportError(f"{path}: takes frames of any length; expected one, export it with a fixed length")
            logits = runtime.run(np.zeros((2, 2, length), np.float32))
    except RuntimeRefusedError as error:
        raise ExportError(str(error)) from error
    return length, logits.shape[1]


def _classes_in(model: onnx.ModelProto) -> list[str] | None:
    noted = {entry.key: entry.value for entry in model.metadata_props}
    try:
        names = json.loads(noted["classes"])
    except (KeyError, ValueError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _write_prepared(model: onnx.ModelProto, source: Path, path: Path) -> None:
    """Write a copy in which every node has a name, of an opset that quantisation can be written in."""
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    opset = next(entry.version for entry in prepared.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < LEAST_OPSET:
        try:
            prepared = onnx.version_converter.convert_version(prepared, OPSET)
        except Exception as error:  # the converter's errors have no base of their own
            raise ExportError(
                f"{source}: is of opset {opset}, and cannot be brought to {OPSET}: {error}; export it anew"
            ) from error
    taken = {node.name for node in prepared.graph.node}
    for number, node in enumerate(prepared.graph.node):
        if not node.name:
            name = f"{node.op_type}_{number}"
            node.name = name if name not in taken else f"{name}_{node.output[0]}"
    path.write_bytes(prepared.SerializeToString(deterministic=True))
