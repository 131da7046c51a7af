"""How long a model's layers take by a roofline with a time for every kernel, from a few constants of a device.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures" (2009): a
layer takes as long as the longer of its products and its bytes. At batch 1 the layers of these models are so small that
starting each is what takes long, so a time for that is added, by the kind of layer; and a product's rate falls where its
sums are short, or its outputs few channels wide, because a vector is not filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat

from deploy.bundle import Layer
from deploy.names import Precision
from deploy.strict_reading import Strict
from toolchain.errors import EstimateError

Kind = Literal["product", "pointwise", "view", "other"]
Bound = Literal["launching", "memory", "arithmetic"]

VALUE_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}
# Nothing is computed or moved: the same bytes under another shape.
VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
# Each value by itself: what runtimes fold into the layer before where they can.
POINTWISE = frozenset(
    "Abs Add Cast Ceil Clip Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Max Min Mul Neg PRelu Pow "
    "Reciprocal Relu Round Sigmoid Sqrt Sub Tanh Where".split()
)
# One step waits for the one before it: no roofline of the whole says how long that takes.
RECURRENT = frozenset({"GRU", "LSTM", "RNN", "Loop", "Scan"})


class Constants(Strict):
    """What a device and a runtime take.

    ``call_us`` is the time of a call with nothing in it, ``product_us``, ``pointwise_us`` and ``other_us`` that of starting a
    layer of a kind; with ``pointwise_us`` None what is pointwise is folded into the layer before and takes no time. Large
    products run at ``gmacs_per_s`` (1e9 multiply-accumulates a second), those whose outputs are sums of ``half_sum`` products
    at half of that, and so are those of ``half_channels`` channels. ``gbytes_per_s`` is for what is read and written;
    ``skips_padding``: products with padding take no time.
    """

    call_us: NonNegativeFloat
    product_us: NonNegativeFloat
    pointwise_us: NonNegativeFloat | None
    other_us: NonNegativeFloat
    gmacs_per_s: PositiveFloat
    gbytes_per_s: PositiveFloat
    half_sum: NonNegativeFloat = 0.0
    half_channels: NonNegativeFloat = 0.0
    skips_padding: bool = False


@dataclass(frozen=True)
class Work:
    """What a layer does in a run: its kind, its products, its bytes, and for products how long sums and rows are.

    ``sum_length`` is the number of products in an output, ``channels`` that of outputs that share their inputs.
    """

    kind: Kind
    macs: float = 0.0
    macs_on_padding: float = 0.0
    size_bytes: float = 0.0
    sum_length: float = 1.0
    channels: float = 1.0


def work_of(layer: Layer, precision: Precision = "fp32", batch: int = 1) -> Work:
    """The work of a row of the manifest, of a file in ``precision``, on ``batch`` frames at a time.

    Raises EstimateError for a layer of which that is not known, and for a recurrent one.
    """
    if layer.op in RECURRENT:
        raise EstimateError(
            f"{layer.name}: of a recurrent layer ({layer.op}) there is no estimate, each of its steps waits for the one "
            "before; measure it with `thinwave profile`"
        )
    if layer.op in VIEWS:
        return Work("view")
    if layer.macs is None or layer.bytes_in is None or layer.bytes_out is None or layer.bytes_weights is None:
        raise EstimateError(
            f"{layer.name}: nobody knows what a layer {layer.op} computes and moves here, so there is no estimate; measure "
            "it with `thinwave profile`"
        )
    size_bytes = batch * (layer.bytes_in + layer.bytes_out) + layer.bytes_weights
    if not layer.macs:
        return Work("pointwise" if layer.op in POINTWISE else "other", size_bytes=size_bytes)
    # A file's values are all as wide, but for a few.
    outputs = max(1.0, layer.bytes_out / VALUE_BYTES[precision])
    weights = layer.bytes_weights / VALUE_BYTES[precision]
    sum_length = layer.macs / outputs
    # A product of two values that both come from the frame has no weights: as if its outputs were many channels.
    channels = weights / sum_length if weights else outputs
    return Work(
        "product", batch * layer.macs, batch * layer.macs_on_padding, size_bytes, sum_length, max(1.0, channels)
    )


def total_ms(works: Sequence[Work], constants: Constants) -> float:
    """What a run of all layers takes, the call included."""
    return (constants.call_us + sum(time_us(work, constants)[0] for work in works)) / 1e3


def time_us(work: Work, constants: Constants) -> tuple[float, Bound]:
    """How long a layer takes in microseconds, and what most of that is."""
    starting: dict[Kind, float | None] = {
        "product": constants.product_us,
        "pointwise": constants.pointwise_us,
        "view": None,
        "other": constants.other_us,
    }
    launching = starting[work.kind]
    if launching is None:
        return 0.0, "launching"
    macs = work.macs - (work.macs_on_padding if constants.skips_padding else 0.0)
    slowed = 1.0 + constants.half_sum / work.sum_length + constants.half_channels / work.channels
    # 1e9 a second are 1e3 a microsecond.
    arithmetic = macs * slowed / constants.gmacs_per_s / 1e3
    memory = work.size_bytes / constants.gbytes_per_s / 1e3
    parts: dict[Bound, float] = {"launching": launching, "memory": memory, "arithmetic": arithmetic}
    return launching + max(memory, arithmetic), max(parts, key=lambda name: parts[name])
