"""What the method is compared with: a baseline is one function that gives a plan, and one line here."""

from collections.abc import Callable

from toolchain.baselines.psr import psr
from toolchain.baselines.random_layers import random_layers
from toolchain.pruning import Plan

BASELINES: dict[str, Callable[..., Plan]] = {"psr": psr, "random": random_layers}

__all__ = ["BASELINES", "psr", "random_layers"]
