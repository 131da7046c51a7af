"""What the method is compared with.

Other choices of layers: a baseline is one function that gives a plan, and one line in the table. Channel pruning: a criterion
is one function that ranks channels, and one line in the table of :mod:`toolchain.baselines.criteria`.
"""

from collections.abc import Callable

from toolchain.baselines.channels import Scope, Thinner, filter_norms, scope_of, thinned, thinned_to
from toolchain.baselines.criteria import CRITERIA, Criterion, criterion_of
from toolchain.baselines.linear_probes import linear_probes
from toolchain.baselines.ordered import plan_in_order
from toolchain.baselines.psr import psr, psr_choices, walked_back
from toolchain.baselines.random_layers import random_layers
from toolchain.baselines.sample import Sample
from toolchain.baselines.scratch import from_scratch
from toolchain.baselines.soft_filters import softly
from toolchain.baselines.sr_init import sr_init
from toolchain.pruning import Plan

BASELINES: dict[str, Callable[..., Plan]] = {
    "psr": lambda model, sample, budget, *, seed, units=None: psr(model, sample.frames, budget, units=units),
    "random-layers": lambda model, sample, budget, *, seed, units=None: random_layers(
        model, sample.frames, budget, seed=seed, units=units
    ),
    "sr-init": sr_init,
    "lcp": lambda model, sample, budget, *, seed, units=None: linear_probes(model, sample, budget, units=units),
}
"""Name -> (model, sample, budget, seed, units) -> plan; ``units`` are globs that name them, None for all."""

__all__ = [
    "BASELINES",
    "CRITERIA",
    "Criterion",
    "Sample",
    "Scope",
    "Thinner",
    "criterion_of",
    "filter_norms",
    "from_scratch",
    "linear_probes",
    "plan_in_order",
    "psr",
    "psr_choices",
    "random_layers",
    "scope_of",
    "softly",
    "sr_init",
    "thinned",
    "thinned_to",
    "walked_back",
]
