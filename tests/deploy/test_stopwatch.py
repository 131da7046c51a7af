import itertools

import numpy as np

from deploy.stopwatch import TURN_RUNS, Subject, take_turns, warm_up

FRAMES = np.zeros((1, 2, 4), dtype=np.float32)


class Bench:
    """A clock that only running moves on, so that every figure is known."""

    def __init__(self):
        self.now_ns = 0
        self.order = []

    def clock(self):
        return self.now_ns

    def subject(self, name, times_ms):
        times_ms = iter(times_ms)

        def run(frames):
            self.order.append(name)
            self.now_ns += round(next(times_ms) * 1e6)

        return Subject(run, itertools.repeat(FRAMES))


def test_steady_model_is_warm_after_the_least_time():
    bench = Bench()
    assert warm_up(bench.subject("a", itertools.repeat(10)), least_s=0.5, limit_s=10.0, clock=bench.clock)
    assert bench.now_ns == 500_000_000


def test_model_that_gets_faster_is_warmed_until_two_windows_agree():
    bench = Bench()
    # Windows of 250 ms: 5 runs of 50 ms, then 10 of 25 ms, then 25 of 10 ms twice.
    times_ms = [50] * 5 + [25] * 10 + [10] * 1000
    assert warm_up(bench.subject("a", times_ms), least_s=0.5, limit_s=10.0, clock=bench.clock)
    assert bench.now_ns == 1_000_000_000


def test_windows_two_percent_apart_agree_and_three_percent_do_not():
    for last_ms, expected in ((98.1, True), (97.0, False)):
        bench = Bench()
        times_ms = itertools.cycle([100.0] * 3 + [last_ms] * 3)
        assert warm_up(bench.subject("a", times_ms), least_s=0.5, limit_s=1.5, clock=bench.clock) is expected


def test_model_that_never_settles_is_given_up_at_the_limit():
    bench = Bench()
    times_ms = itertools.count(10.0, 5.0)
    assert not warm_up(bench.subject("a", times_ms), least_s=0.5, limit_s=10.0, clock=bench.clock)
    assert bench.now_ns >= 10_000_000_000


def test_slow_model_has_windows_of_several_runs():
    bench = Bench()
    assert warm_up(bench.subject("a", itertools.repeat(400)), least_s=0.5, limit_s=10.0, clock=bench.clock)
    assert bench.order == ["a"] * 6


def test_every_run_is_kept_as_it_was():
    bench = Bench()
    times_ms = [1, 1000, 2] * 1000
    (times_ns,) = take_turns(
        [bench.subject("a", times_ms)], seconds=10.0, least_runs=1, limit_s=99.0, clock=bench.clock
    )
    assert list(times_ns) == [ms * 1_000_000 for ms in times_ms[: len(times_ns)]]
    assert sum(times_ns) == bench.now_ns >= 10_000_000_000


def test_two_models_take_turns_of_a_few_runs():
    bench = Bench()
    a, b = (bench.subject(name, itertools.repeat(1)) for name in "ab")
    first, second = take_turns([a, b], seconds=0.2, least_runs=1, limit_s=9.0, clock=bench.clock)
    turns = [(name, len(list(group))) for name, group in itertools.groupby(bench.order)]
    assert turns == [("a", TURN_RUNS), ("b", TURN_RUNS)] * 4
    assert len(first) == len(second) == 4 * TURN_RUNS


def test_turn_of_a_slow_model_ends_early():
    bench = Bench()
    slow, fast = bench.subject("slow", itertools.repeat(60)), bench.subject("fast", itertools.repeat(1))
    take_turns([slow, fast], seconds=0.1, least_runs=1, limit_s=9.0, clock=bench.clock)
    assert bench.order == ["slow"] * 2 + ["fast"] * TURN_RUNS


def test_goes_on_until_each_model_has_the_least_runs():
    bench = Bench()
    slow, fast = bench.subject("slow", itertools.repeat(50)), bench.subject("fast", itertools.repeat(1))
    samples = take_turns([slow, fast], seconds=0.1, least_runs=20, limit_s=99.0, clock=bench.clock)
    assert [len(times_ns) for times_ns in samples] == [20, 10 * TURN_RUNS]


def test_limit_ends_it_short_of_the_least_runs():
    bench = Bench()
    (times_ns,) = take_turns(
        [bench.subject("a", itertools.repeat(1000))], seconds=3.0, least_runs=1024, limit_s=120.0, clock=bench.clock
    )
    assert len(times_ns) == 120


def test_time_passed_is_told_twice_a_second():
    bench = Bench()
    told = []
    take_turns(
        [bench.subject("a", itertools.repeat(100))],
        seconds=2.0,
        least_runs=1,
        limit_s=9.0,
        tell=told.append,
        clock=bench.clock,
    )
    assert told == [0.5, 1.0, 1.5]
