"""What each operation becomes when a network is made linear and positive, as SynFlow asks.

Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow" (2020): every weight by its
absolute value, biases dropped, activations as the identity. Beyond that paper: normalisation in evaluation form as its
positive scale (of ones a LayerNorm would give 0, so it does not centre), max pooling as average, attention as a uniform
average of the values. A product of two values that both come from the input (a gate) and a recurrent layer have no such form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

aten = torch.ops.aten


class LinearFormError(Exception):
    """An operation that cannot be made linear; the text says why."""


@dataclass(frozen=True)
class Given:
    """The arguments of an operation: states that flow through the network, and constants (weights) beside them.

    ``shape`` is that of the output, for one frame.
    """

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    flowing: tuple[bool, ...]
    shape: tuple[int, ...]

    def state(self, position: int) -> Tensor:
        """The state at ``position``; LinearFormError where a constant stands there."""
        if not self.flows(position):
            raise LinearFormError("a constant stands where the input should come in")
        state: Tensor = self.arguments[position]
        return state

    def flows(self, position: int) -> bool:
        """Whether what stands at ``position`` comes from the input."""
        return position < len(self.flowing) and self.flowing[position]

    def weight(self, position: int) -> Any:
        """The absolute value of the constant at ``position``, in float64: products of 50 layers overflow float32."""
        if self.flows(position):
            raise LinearFormError("a product of two values that come from the input")
        value = self.arguments[position]
        if isinstance(value, Tensor) and value.is_complex():
            raise LinearFormError("complex weights have no linear form")
        return value.detach().double().abs() if isinstance(value, Tensor) else abs(value)

    def optional(self, position: int, default: Any) -> Any:
        """The plain argument at ``position``, or ``default`` where it was left out."""
        return self.arguments[position] if position < len(self.arguments) else default


def _convolution(given: Given) -> Tensor:
    state, weight = given.state(0), given.weight(1)
    return aten.convolution.default(state, weight, None, *given.arguments[3:])  # type: ignore[no-any-return]


def _product(first: int, second: int) -> Callable[[Given], Tensor]:
    """A matrix product, of which one side is a weight (or an average over tokens)."""

    def form(given: Given) -> Tensor:
        if given.flows(first):
            return torch.matmul(given.state(first), given.weight(second))
        return torch.matmul(given.weight(first), given.state(second))

    return form


def _linear(given: Given) -> Tensor:
    return torch.matmul(given.state(0), given.weight(1).T)


def _sum(given: Given) -> Tensor:
    if given.flows(0) and given.flows(1):
        return torch.add(given.state(0), given.state(1), alpha=abs(given.keywords.get("alpha", 1)))
    # What is added without coming from the input is a bias.
    return given.state(0 if given.flows(0) else 1).expand(given.shape)


def _scaled(given: Given) -> Tensor:
    state, weight = (0, 1) if given.flows(0) else (1, 0)
    return torch.mul(given.state(state), given.weight(weight))


def _divided(given: Given) -> Tensor:
    return torch.div(given.state(0), given.weight(1))


def _batch_norm(given: Given) -> Tensor:
    state, variance, epsilon = given.state(0), given.arguments[4], given.arguments[-1]
    if variance is None:
        raise LinearFormError("a BatchNorm without running statistics; train it with them")
    scale = (variance.double() + epsilon).rsqrt()
    if given.arguments[1] is not None:
        scale = scale * given.weight(1)
    scaled: Tensor = state * scale.view(1, -1, *[1] * (len(given.shape) - 2))
    return scaled


def _last_scaled(weight: int) -> Callable[[Given], Tensor]:
    """Normalisation over the last dimensions: |gamma|, which has their shape."""

    def form(given: Given) -> Tensor:
        state = given.state(0)
        return state if given.optional(weight, None) is None else state * given.weight(weight)

    return form


def _group_norm(given: Given) -> Tensor:
    state = given.state(0)
    if given.arguments[1] is None:
        return state
    scaled: Tensor = state * given.weight(1).view(1, -1, *[1] * (len(given.shape) - 2))
    return scaled


def _max_pool(average: Callable[..., Tensor]) -> Callable[[Given], Tensor]:
    def form(given: Given) -> Tensor:
        stride = given.optional(2, []) or given.arguments[1]
        padding, dilation, ceil = given.optional(3, 0), given.optional(4, 1), given.optional(5, False)
        if any(step != 1 for step in ([dilation] if isinstance(dilation, int) else dilation)):
            raise LinearFormError("dilated pooling")
        pooled: Tensor = average(given.state(0), given.arguments[1], stride, padding, ceil)
        return pooled

    return form


def _largest_as_mean(given: Given) -> Tensor:
    return torch.mean(given.state(0), given.optional(1, []), keepdim=bool(given.optional(2, False)))


def _attention(given: Given) -> Tensor:
    return given.state(2).mean(dim=-2, keepdim=True).expand(given.shape)


def _uniform(given: Given) -> Tensor:
    """Softmax, of whatever: each of n gets 1/n. This does not flow, it is a weight."""
    return torch.full(given.shape, 1.0 / given.shape[given.arguments[1]], dtype=torch.float64)


def _joined(function: Callable[..., Tensor]) -> Callable[[Given], Tensor]:
    """Side by side; what does not come from the input (a class token) is a bias, and no flow."""

    def form(given: Given) -> Tensor:
        return function(given.arguments[0], *given.arguments[1:])

    return form


def _pad(given: Given) -> Tensor:
    return F.pad(given.state(0), given.arguments[1])


def _through(given: Given) -> Tensor:
    return given.state(0)


ACTIVATIONS = (
    "relu gelu sigmoid tanh silu elu celu selu leaky_relu hardtanh hardswish hardsigmoid softplus mish threshold clamp "
    "clamp_min clamp_max abs neg _prelu_kernel prelu rrelu_with_noise log_sigmoid_forward"
).split()
COPIES = "clone alias detach _to_copy lift_fresh_copy native_dropout".split()

FORMS: dict[str, Callable[[Given], Tensor]] = {
    **dict.fromkeys((*ACTIVATIONS, *COPIES), _through),
    "convolution": _convolution,
    "addmm": _product(1, 2),
    "baddbmm": _product(1, 2),
    "mm": _product(0, 1),
    "bmm": _product(0, 1),
    "linear": _linear,
    "add": _sum,
    "sub": _sum,
    "rsub": _sum,
    "mul": _scaled,
    "div": _divided,
    "native_batch_norm": _batch_norm,
    "native_layer_norm": _last_scaled(2),
    "_fused_rms_norm": _last_scaled(2),
    "native_group_norm": _group_norm,
    "max_pool1d": _max_pool(F.avg_pool1d),
    "max_pool2d_with_indices": _max_pool(F.avg_pool2d),
    "max_pool3d_with_indices": _max_pool(F.avg_pool3d),
    "adaptive_max_pool2d": lambda given: F.adaptive_avg_pool2d(given.state(0), given.arguments[1]),
    "amax": _largest_as_mean,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
    "_softmax": _uniform,
    "_safe_softmax": _uniform,
    "cat": _joined(torch.cat),
    "stack": _joined(torch.stack),
    "constant_pad_nd": _pad,
}
"""The operations that change: name -> form."""

AS_THEY_ARE = frozenset(
    "mean sum avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool3d _unsafe_view "
    "roll flip repeat index_select unsafe_split gather upsample_nearest1d upsample_nearest2d channel_shuffle "
    "native_channel_shuffle pixel_shuffle".split()
)
"""Beside views, the operations that are linear and positive already."""

COMPLEX = frozenset("complex polar view_as_real view_as_complex _conj _conj_physical conj_physical angle".split())
"""Into complex numbers and out of them; also those that are views. A flow is positive, and so has no phase."""

# Whose output does not depend on these inputs once the network is linear: all of them, or all but the values.
WEIGHTS_ONLY = frozenset(("_softmax", "_safe_softmax"))
READS_ONLY = dict.fromkeys((name for name, form in FORMS.items() if form is _attention), 2)
