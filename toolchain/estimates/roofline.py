"""How long a model's layers take by a roofline with a time for every kernel, from a few constants of a device.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures" (2009): a
layer takes as long as the longer of its products and its bytes. At batch 1 the layers of these models are so small that
starting each is what takes long, so a time for that is added, by the kind of layer; a product's rate falls where its sums are
short, or its outputs few channels wide, because a vector is not filled; and a model whose weights no cache holds reads them
from memory in each run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

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
# Wider than any device: within them every estimate is a number.
AtLeast0 = Annotated[float, Field(ge=0.0, le=1e9)]
Above0 = Annotated[float, Field(ge=1e-6, le=1e12)]


class Constants(Strict):
    """What a device and a runtime take.

    ``call_us`` is the time of a call with nothing in it, ``product_us``, ``pointwise_us`` and ``other_us`` that of starting a
    layer of a kind; with ``pointwise_us`` None what is pointwise is folded into the layer before and takes no time. Large
    products run at ``gmacs_per_s`` (1e9 multiply-accumulates a second), those whose outputs are sums of ``half_sum`` products
    at half of that, and so are those of ``half_channels`` channels; layers with weights are computed in whole blocks of
    ``channel_block`` channels. ``gbytes_per_s`` is for what is read and written; of a model with ``half_mbytes`` of weights
    half of these are in no cache any more, and come at ``memory_gbytes_per_s`` too; with that None, all weights are alike.
    ``skips_padding``: products with padding take no time.
    """

    call_us: AtLeast0
    product_us: AtLeast0
    pointwise_us: AtLeast0 | None
    other_us: AtLeast0
    gmacs_per_s: Above0
    gbytes_per_s: Above0
    half_sum: AtLeast0
    half_channels: AtLeast0
    channel_block: Annotated[int, Field(ge=1, le=1024)]
    half_mbytes: Above0
    memory_gbytes_per_s: Above0 | None
    skips_padding: bool


@dataclass(frozen=True)
class Work:
    """What a layer does in a run: its kind, its products, its bytes, and for products how long sums and rows are.

    ``value_bytes`` are what it reads and writes, without its ``weight_bytes``. ``sum_length`` is the number of products in an
    output, ``channels`` that of outputs that share their inputs.
    """

    kind: Kind
    macs: float = 0.0
    macs_on_padding: float = 0.0
    value_bytes: float = 0.0
    weight_bytes: float = 0.0
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
    value_bytes, weight_bytes = batch * (layer.bytes_in + layer.bytes_out), layer.bytes_weights
    if not layer.macs:
        kind: Kind = "pointwise" if layer.op in POINTWISE else "other"
        return Work(kind, value_bytes=value_bytes, weight_bytes=weight_bytes)
    # A file's values are all as wide, but for a few.
    outputs = max(1.0, layer.bytes_out / VALUE_BYTES[precision])
    weights = layer.bytes_weights / VALUE_BYTES[precision]
    sum_length = layer.macs / outputs
    # A product of two values that both come from the frame has no weights: as if its outputs were many channels.
    channels = _channels(outputs, sum_length, weights, 4.0 / VALUE_BYTES[precision]) if weights else outputs
    return Work(
        "product",
        macs=batch * layer.macs,
        macs_on_padding=batch * layer.macs_on_padding,
        value_bytes=value_bytes,
        weight_bytes=weight_bytes,
        sum_length=sum_length,
        channels=max(1.0, channels),
    )


def _channels(outputs: float, sum_length: float, weights: float, wide: float) -> float:
    """How many channels have so many ``weights``: one for each product, and perhaps a bias, as wide or ``wide`` times that.

    In whole channels where these make up the outputs; else about as many.
    """
    counts = [weights / (sum_length + bias) for bias in (1.0, wide, 0.0)]
    return next((count for count in counts if count % 1 == 0 and outputs % count == 0), counts[-1])


def total_ms(works: Sequence[Work], constants: Constants) -> float:
    """What a run of all layers takes, the call included."""
    return (constants.call_us + sum(us for us, _ in times_us(works, constants))) / 1e3


def times_us(works: Sequence[Work], constants: Constants) -> list[tuple[float, Bound]]:
    """How long each layer of a model takes in microseconds, and what most of that is."""
    us_a_byte = 1.0 / constants.gbytes_per_s / 1e3
    # Every run reads all weights, each once: of more of them than a cache holds the next to be read are those that left it.
    us_a_weight = us_a_byte
    if constants.memory_gbytes_per_s is not None:
        filled = sum(work.weight_bytes for work in works) / 1e6 / constants.half_mbytes
        us_a_weight += filled**2 / (1.0 + filled**2) / constants.memory_gbytes_per_s / 1e3
    return [_time_us(work, constants, us_a_byte, us_a_weight) for work in works]


def _time_us(work: Work, constants: Constants, us_a_byte: float, us_a_weight: float) -> tuple[float, Bound]:
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
    arithmetic = macs * _blocked(work, constants) * slowed / constants.gmacs_per_s / 1e3
    memory = work.value_bytes * us_a_byte + work.weight_bytes * us_a_weight
    parts: dict[Bound, float] = {"launching": launching, "memory": memory, "arithmetic": arithmetic}
    return launching + max(memory, arithmetic), max(parts, key=lambda name: parts[name])


def _blocked(work: Work, constants: Constants) -> float:
    """How many times as many channels are computed as there are."""
    block = constants.channel_block
    return math.ceil(work.channels / block) * block / work.channels if work.weight_bytes else 1.0
