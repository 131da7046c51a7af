"""Timing single runs in one process: warm up until steady, then time each run by itself, models taking turns.

The clock is a parameter in nanoseconds, so that tests need not wait; a run is timed from the call to its return, and
nothing is left out.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from deploy.runtimes.base import Float32

Clock = Callable[[], int]

STEADY_WITHIN = 0.02

# A turn is short against the drift of a machine (seconds), and long against what changing over costs (the first run
# after it finds the caches full of the other model).
TURN_RUNS = 32
TURN_S = 0.1

# A median of fewer runs than this says nothing, however slow the model.
LEAST_WINDOW_RUNS = 3
TOLD_EVERY_S = 0.5


@dataclass(frozen=True)
class Subject:
    """What is timed: ``run`` on each of ``batches``, which never end."""

    run: Callable[[Float32], object]
    batches: Iterator[Float32]


def warm_up(subject: Subject, *, least_s: float, limit_s: float, clock: Clock = time.perf_counter_ns) -> bool:
    """Run for ``least_s`` seconds and until the medians of two consecutive windows agree within 2 %.

    A window is half of ``least_s``, so two of them are the least warm-up. Returns True when they agreed, and False when
    they did not within ``limit_s``: the model never became steady.
    """
    started = clock()
    before = _window_median_ns(subject, least_s / 2, clock)
    while True:
        latest = _window_median_ns(subject, least_s / 2, clock)
        elapsed_s = (clock() - started) / 1e9
        steady = abs(latest - before) <= STEADY_WITHIN * max(before, latest)
        if steady and elapsed_s >= least_s:
            return True
        if elapsed_s >= limit_s:
            return False
        before = latest


def take_turns(
    subjects: Sequence[Subject],
    *,
    seconds: float,
    least_runs: int,
    limit_s: float,
    tell: Callable[[float], None] = lambda elapsed_s: None,
    clock: Clock = time.perf_counter_ns,
) -> list[array[int]]:
    """Time single runs of the subjects in short turns; return the nanoseconds of every run, an array a subject.

    Goes on for ``seconds`` altogether and until each subject has ``least_runs``, but ends after ``limit_s`` in any
    case, after a whole round of turns. ``tell`` is called between rounds, twice a second, with the seconds passed.
    """
    samples = [array("q") for _ in subjects]
    started = told = clock()
    while True:
        for subject, times_ns in zip(subjects, samples, strict=True):
            _turn(subject, times_ns, clock)
        now = clock()
        elapsed_s = (now - started) / 1e9
        enough = elapsed_s >= seconds and min(map(len, samples)) >= least_runs
        if enough or elapsed_s >= limit_s:
            return samples
        if now - told >= TOLD_EVERY_S * 1e9:
            told = now
            tell(elapsed_s)


def _turn(subject: Subject, times_ns: array[int], clock: Clock) -> None:
    run, batches = subject.run, subject.batches
    turn_started = clock()
    for _ in range(TURN_RUNS):
        frames = next(batches)
        started = clock()
        run(frames)
        ended = clock()
        times_ns.append(ended - started)
        if ended - turn_started >= TURN_S * 1e9:
            return


def _window_median_ns(subject: Subject, window_s: float, clock: Clock) -> float:
    times_ns: array[int] = array("q")
    window_started = clock()
    while True:
        frames = next(subject.batches)
        started = clock()
        subject.run(frames)
        ended = clock()
        times_ns.append(ended - started)
        if ended - window_started >= window_s * 1e9 and len(times_ns) >= LEAST_WINDOW_RUNS:
            return median(times_ns)
