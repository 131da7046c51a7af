"""How fast a model is to be: so many milliseconds, or so many times as fast as the original."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.errors import PlanError
from toolchain.latency_budget.meters import Reading


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One of two: at most ``latency_ms``, or at least ``speedup`` times as fast as the original in the same run."""

    latency_ms: float | None = None
    speedup: float | None = None

    def __post_init__(self) -> None:
        if (self.latency_ms is None) == (self.speedup is None):
            raise PlanError("a limit is one of latency_ms, speedup")
        if self.latency_ms is not None and not 0 < self.latency_ms < float("inf"):
            raise PlanError(f"latency_ms = {self.latency_ms!r}: expected milliseconds over 0")
        if self.speedup is not None and not 1 < self.speedup < float("inf"):
            raise PlanError(f"speedup = {self.speedup!r}: expected a number over 1")

    def check(self, whole_ms: float) -> None:
        """Raise PlanError where the original, which takes ``whole_ms``, is within the limit as it is."""
        if self.in_ms(whole_ms) >= whole_ms:
            raise PlanError(f"{self}: the model takes {whole_ms:.4g} ms as it is; ask for less, or leave it as it is")

    def in_ms(self, whole_ms: float) -> float:
        """What a model may take where the original takes ``whole_ms``."""
        return whole_ms / self.speedup if self.speedup is not None else float(self.latency_ms or 0.0)

    def taken(self, reading: Reading, whole_ms: float) -> tuple[float, float]:
        """What a model takes, and at most takes, to be held against :meth:`in_ms`.

        A number of times is one of a run: the machine may have become faster since ``whole_ms`` was read.
        """
        if self.speedup is None:
            return reading.ms, reading.at_most_ms
        return whole_ms / reading.times_as_fast, whole_ms / reading.at_least_times

    def __str__(self) -> str:
        """As people say it."""
        return f"{self.speedup:g} times as fast" if self.speedup is not None else f"{self.latency_ms:g} ms"
