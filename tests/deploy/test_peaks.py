import itertools

import pytest

from deploy import peaks
from deploy.peaks import measured_peaks


def clock_of(durations_s):
    """A clock that is looked at before and after each piece of work, and shows that it took so long."""
    times_s, now_s = [], 0.0
    for duration_s in durations_s:
        times_s += [now_s, now_s + duration_s]
        now_s += 1.0
    return iter(times_s).__next__


def test_peaks_are_the_work_done_by_the_shortest_time_it_took():
    # The shortest try of 20 is neither the first nor the last.
    products, copies = [0.5] * 20, [0.5] * 20
    products[7], copies[12] = 0.125, 0.25
    found = measured_peaks(clock_of(products + copies))
    # 384 x 384 sums of 384 products in 1/8 s; half a MiB read and written in 1/4 s.
    assert found.gmacs_per_s == pytest.approx(384**3 * 8 / 1e9, rel=1e-9)
    assert found.gbytes_per_s == pytest.approx(2 * 2**19 * 4 / 1e9, rel=1e-9)


def test_every_try_does_the_work(monkeypatch):
    done = []
    monkeypatch.setattr(peaks.np, "matmul", lambda a, b, out: done.append((a.shape, b.shape, a.dtype, out.dtype)))
    monkeypatch.setattr(peaks.np, "copyto", lambda to, of: done.append((to.nbytes, of.nbytes)))
    measured_peaks(itertools.count(0.0).__next__)
    assert done == [((384, 384), (384, 384), "float32", "float32")] * 20 + [(2**19, 2**19)] * 20


def test_peaks_of_this_machine_are_of_this_world():
    found = measured_peaks()
    # From a microcontroller to more than any one processor does.
    assert 1e-3 < found.gmacs_per_s < 1e5
    assert 1e-3 < found.gbytes_per_s < 1e5
