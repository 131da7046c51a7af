"""What a model costs: parameters, multiply-accumulates, activations.

The convention: the products of convolutions, dense layers, matrix multiplications, attention and recurrent layers count,
one multiply-accumulate (MAC) each, wherever they are written; additions of biases, normalisation, activations, pooling
and other arithmetic value by value do not. 1 MAC = 2 FLOPs. A complex product is four real ones (three where PyTorch makes
a complex convolution of three real ones), and a complex parameter two numbers. What is neither counted nor known to be
free of products is listed, never silently zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from toolchain.dataflow import Dataflow, Operation, Ref, checked_shape, dataflow

Shapes = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class LayerCost:
    """One module's own share: its path ("" is the model itself), parameters, MACs of one frame, and output values.

    ``activations`` counts the values that its counted products put out for a frame: what is written when normalisation
    and activation are fused into them, as runtimes do.
    """

    name: str
    params: int
    macs: int
    activations: int


@dataclass(frozen=True)
class Cost:
    """The cost of one frame, in sum and by layer.

    ``uncounted`` names what ran and has no count, by module and operation: ``head (aten.cdist)``.
    """

    layers: tuple[LayerCost, ...]
    uncounted: tuple[str, ...]

    @property
    def params(self) -> int:
        """Trained numbers: weights, biases, and BatchNorm's scale and shift. Shared ones count once."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one frame."""
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        """Floating-point operations of one frame: 1 MAC = 2 FLOPs."""
        return 2 * self.macs

    def within(self, *names: str) -> Cost:
        """The part of the modules ``names`` and all inside them."""

        def inside(path: str) -> bool:
            return any(path == name or path.startswith((f"{name}.", f"{name} ")) for name in names)

        return Cost(
            tuple(layer for layer in self.layers if inside(layer.name)),
            tuple(place for place in self.uncounted if inside(place)),
        )


def cost(model: nn.Module, frame_shape: Sequence[int]) -> Cost:
    """Count by running ``model`` on one frame of ``frame_shape``, (2, length).

    Raises ModelError where the model fails on such a frame, or does not compute its logits from it by PyTorch's operations.
    """
    return cost_of(model, dataflow(model, torch.zeros(1, *checked_shape(frame_shape))))


def cost_of(model: nn.Module, flow: Dataflow) -> Cost:
    """As :func:`cost`, from what ``model`` was seen to do with one frame."""
    macs: Counter[str] = Counter()
    activations: Counter[str] = Counter()
    uncounted: dict[str, None] = {}
    for operation in flow.operations:
        share = products(operation, flow.shapes)
        if share is None:
            uncounted[f"{operation.module or type(model).__name__} (aten.{operation.name})"] = None
        elif share:
            macs[operation.module] += share
            activations[operation.module] += prod(flow.shapes[operation.writes[0]])
    layers, seen = [], set[int]()
    for path, module in model.named_modules():
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in seen]
        seen.update(map(id, own))
        params = sum(map(numbers_in, own))
        if params or macs[path]:
            layers.append(LayerCost(path, params, macs[path], activations[path]))
    return Cost(tuple(layers), tuple(uncounted))


def products(operation: Operation, shapes: Shapes) -> int | None:
    """The multiply-accumulates of an operation; 0 where it is free by the convention, None where nobody knows."""
    if isinstance(operation.function, nn.RNNBase | nn.RNNCellBase):
        return recurrent_macs(operation.function, shapes[operation.writes[0]])
    if operation.name in PRODUCTS:
        arguments = [_shape(argument, shapes) for argument in operation.arguments]
        made = PRODUCTS[operation.name](operation, arguments, shapes[operation.writes[0]])
        return 4 * made if operation.complex else made
    if not operation.writes or _is_free(operation):
        return 0
    return None


def numbers_in(parameter: Tensor) -> int:
    """The real numbers in a parameter."""
    return parameter.numel() * (2 if parameter.is_complex() else 1)


def recurrent_macs(module: nn.RNNBase | nn.RNNCellBase, output_shape: Sequence[int]) -> int:
    """The products of a recurrent module whose output sequence has ``output_shape`` (..., width).

    A step of one layer in one direction costs ``gates x hidden x (inputs + state)``, with 4 gates for an LSTM (Hochreiter
    and Schmidhuber, 1997), 3 for a GRU (Cho et al., 2014), 1 for a plain one; an LSTM's projection (Sak et al., 2014) adds
    ``hidden x projection``, and its state is then that wide.
    """
    gates = 4 if isinstance(module, nn.LSTM | nn.LSTMCell) else 3 if isinstance(module, nn.GRU | nn.GRUCell) else 1
    hidden = module.hidden_size
    if isinstance(module, nn.RNNCellBase):
        return prod(output_shape[:-1]) * gates * hidden * (module.input_size + hidden)
    directions = 2 if module.bidirectional else 1
    state = module.proj_size or hidden
    steps = prod(output_shape[:-1])
    total = 0
    for layer in range(module.num_layers):
        inputs = module.input_size if layer == 0 else directions * state
        total += directions * (gates * hidden * (inputs + state) + hidden * module.proj_size)
    return steps * total


def _shape(argument: object, shapes: Shapes) -> tuple[int, ...]:
    if isinstance(argument, Ref):
        return shapes[argument.value]
    return tuple(argument.shape) if isinstance(argument, Tensor) else ()


def _convolution(operation: Operation, arguments: Shapes, output: tuple[int, ...]) -> int:
    transposed = operation.arguments[6]
    # Each output is a sum over a kernel; of a transposed one each input goes to a kernel.
    return prod(arguments[0] if transposed else output) * prod(arguments[1][1:])


def _matrices(first: int) -> Callable[[Operation, Shapes, tuple[int, ...]], int]:
    """(..., n, p) times (..., p, m), of which the first is argument ``first``: each output is a sum over p."""
    return lambda _operation, arguments, output: prod(output) * arguments[first][-1]


def _attention(_operation: Operation, arguments: Shapes, output: tuple[int, ...]) -> int:
    """Softmax(Q K^T) V: (..., n, width) with (..., m, width), then (..., n, m) with (..., m, value width)."""
    query, key, value = arguments[:3]
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


PRODUCTS: dict[str, Callable[[Operation, Shapes, tuple[int, ...]], int]] = {
    "convolution": _convolution,
    "linear": _matrices(0),
    "mm": _matrices(0),
    "mv": _matrices(0),
    "dot": lambda _operation, arguments, _output: prod(arguments[0]),
    "bmm": _matrices(0),
    "addmm": _matrices(1),
    "addmv": _matrices(1),
    "addbmm": lambda _operation, arguments, output: prod(output) * arguments[1][0] * arguments[1][-1],
    "baddbmm": _matrices(1),
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
}
"""The operations whose products are counted: name -> (operation, shapes of its arguments, shape of its output) -> MACs."""

# Beside views, what works value by value, and what has a batch of its own: no products, or those of scaling and averaging.
FREE = frozenset(
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm native_layer_norm "
    "_fused_rms_norm native_group_norm max_pool2d_with_indices max_pool3d_with_indices max_pool1d max_pool2d avg_pool1d "
    "avg_pool2d avg_pool3d adaptive_avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d mean sum amax "
    "amin max min std var var_mean prod norm linalg_vector_norm logsumexp cumsum cumprod _softmax _log_softmax softmax "
    "argmax argmin cat stack copy clone _to_copy _unsafe_view constant_pad_nd reflection_pad1d reflection_pad2d "
    "replication_pad1d replication_pad2d roll flip index index_select index_put gather scatter scatter_add embedding "
    "select_scatter slice_scatter repeat repeat_interleave upsample_nearest1d upsample_nearest2d upsample_linear1d "
    "upsample_bilinear2d pixel_shuffle im2col tril triu topk sort native_dropout masked_fill fill zero new_zeros new_ones "
    "new_empty new_full zeros_like ones_like empty_like full_like rand_like randn_like arange unsafe_split unfold "
    "lift_fresh_copy complex channel_shuffle native_channel_shuffle glu any all cummax bernoulli".split()
)


def _is_free(operation: Operation) -> bool:
    function = operation.function
    return torch.Tag.pointwise in function.tags or function.is_view or operation.name in FREE
