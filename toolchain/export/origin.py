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

from deploy.latency import Model, ask_for
from deploy.runtimes import open_runtime
from toolchain.cost import cost
from toolchain.errors import ExportError
from toolchain.export.foreign import in_own_form
from toolchain.export.layers import layers_of
from toolchain.export.onnx_file import export_onnx
from toolchain.models import ModelCard
from toolchain.training import logits_of

log = logging.getLogger(__name__)


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


def from_onnx(path: Path, classes: Sequence[str], *, guessed: bool = False) -> Origin:
    """The fp32 ONNX file at ``path``; its logits are ONNX Runtime's.

    ``classes`` name its logits where its metadata do not; where they are ``guessed``, that is told.

    Raises ExportError for a file that is no such model, and for names that are not as many as its logits, MeasurementError
    for one that ONNX Runtime does not run.
    """
    model = in_own_form(path)
    # In a process of its own: nobody vouches for the file, and there are some that end the process.
    takes = ask_for("frames", Model(path=path))
    for what, wanted in (("length", takes["length"] is not None), ("batch", takes["batch"] is None)):
        if not wanted:
            got = f"a batch of {takes['batch']} alone" if what == "batch" else "frames of any length"
            raise ExportError(f"{path}: takes {got}; expected any batch of frames of one length, export it so")
    noted = _classes_in(model)
    names = noted or tuple(classes)
    if noted is None and guessed:
        log.warning("%s: does not say its classes; its logits are taken for %s, in this order", path, ", ".join(names))
    if len(names) != takes["classes"] or len(set(names)) != len(names):
        raise ExportError(
            f"{path}: gives {takes['classes']} logits, and there are {len(names)} classes: {', '.join(names)}; say them "
            "with --classes, in the order of the logits"
        )
    _note_classes(model, names)
    layers = layers_of(model)
    if unknown := [layer.name for layer in layers if layer.macs is None]:
        log.warning("the MACs of %s are not known and not counted", ", ".join(unknown))

    def answered(frames: NDArray[np.float32]) -> NDArray[np.float32]:
        with open_runtime("onnxruntime", path) as runtime:
            return runtime.run(frames)

    return Origin(
        name=path.name,
        classes=names,
        length=takes["length"],
        scaling="as the ONNX file does it",
        params=sum(
            prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT
        ),
        macs=sum(layer.macs or 0 for layer in layers),
        write=lambda place: _write(model, place),
        logits=answered,
        runs_in="ONNX Runtime",
    )


def _classes_in(model: onnx.ModelProto) -> tuple[str, ...] | None:
    noted = {entry.key: entry.value for entry in model.metadata_props}
    try:
        names = json.loads(noted["classes"])
    except (KeyError, ValueError):
        return None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _note_classes(model: onnx.ModelProto, names: Sequence[str]) -> None:
    noted = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**noted, "classes": json.dumps(list(names))})


def _write(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString(deterministic=True))
