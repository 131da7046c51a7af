"""Pruning until a model is fast enough: what its units take on a target, and the plan that keeps within a latency."""

from toolchain.latency_budget.limit import Limit
from toolchain.latency_budget.meters import Effort, EstimatedMeter, MeasuredMeter, Meter, Reading
from toolchain.latency_budget.planning import Planner, Pruned, Work, dropped_runs, plan_within
from toolchain.latency_budget.unit_latencies import UnitLatencies, as_of_now, read_unit_latencies, unit_latencies

__all__ = [
    "Effort",
    "EstimatedMeter",
    "Limit",
    "MeasuredMeter",
    "Meter",
    "Planner",
    "Pruned",
    "Reading",
    "UnitLatencies",
    "Work",
    "as_of_now",
    "dropped_runs",
    "plan_within",
    "read_unit_latencies",
    "unit_latencies",
]
