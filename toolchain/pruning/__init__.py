"""The method, one idea a file: units, similarity, segmentation, synflow, selection, plan."""

from toolchain.pruning.budget import Budget, Latency, units_to_keep
from toolchain.pruning.plan import Plan, apply_plan, plan_from_json, pruned_card, with_model
from toolchain.pruning.planning import (
    Choices,
    Cutting,
    allotment,
    blocks_asked,
    check_budget,
    least_to_keep,
    log_flows_with,
    plan_layers,
    plan_on,
    planned,
    with_unit,
)
from toolchain.pruning.segmentation import Segmentation, segment
from toolchain.pruning.sharing import below_share
from toolchain.pruning.similarity import similarity_matrix
from toolchain.pruning.synflow import log_flow, synflow_scores
from toolchain.pruning.units import Unit, find_units, look_at_units

__all__ = [
    "Budget",
    "Choices",
    "Cutting",
    "Latency",
    "Plan",
    "Segmentation",
    "Unit",
    "allotment",
    "apply_plan",
    "below_share",
    "blocks_asked",
    "check_budget",
    "find_units",
    "least_to_keep",
    "log_flow",
    "log_flows_with",
    "look_at_units",
    "plan_from_json",
    "plan_layers",
    "plan_on",
    "planned",
    "pruned_card",
    "segment",
    "similarity_matrix",
    "synflow_scores",
    "units_to_keep",
    "with_model",
    "with_unit",
]
