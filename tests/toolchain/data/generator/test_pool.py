import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from toolchain.data.generator import pool
from toolchain.data.generator.chunks import cell_pieces, make_piece
from toolchain.data.generator.pool import START, made_by_workers
from toolchain.data.generator.presets import PRESETS
from toolchain.errors import DatasetError

# A script as a user writes one: no function, and no guard against being imported again.
LEFT_OVER = """
from toolchain.data.generator import generated_blocks

blocks = generated_blocks("rml2018", frames_per_cell=10**6, snr_db=[0], seed=0, workers=2)
next(blocks)
"""
SCRIPT = """
from toolchain.data.generator import generated_blocks

blocks = generated_blocks("rml2018", frames_per_cell=10**6, snr_db=[0], seed=0, workers=2)
print(len(next(blocks)), flush=True)
for block in blocks:
    pass
"""
ENDS_AT_ONCE = "import sys; sys.stdin.readline(); print('no room left', file=sys.stderr); sys.exit(3)"
IS_KILLED = "import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 9)"
NEVER_ANSWERS = "import sys, time; time.sleep(600)"
DIES_IN_THE_MIDDLE = "import os, sys; sys.stdin.readline(); os.write(int(sys.argv[1]), b'half'); sys.exit(1)"


def pieces(frames, preset="rml2016a"):
    return list(cell_pieces(PRESETS[preset], PRESETS[preset].classes[0], 10.0, frames, seed=0))


@pytest.fixture
def started(monkeypatch):
    """The processes that the pool starts, as they come."""
    processes = []

    class Noted(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            processes.append(self)

    monkeypatch.setattr(pool.subprocess, "Popen", Noted)
    return processes


def assert_nothing_is_left(started):
    assert started
    assert all(process.returncode is not None for process in started)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("generator")]


def children_of(pid):
    """Processes whose parent is ``pid``, by the fourth field of /proc/PID/stat."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


def runs(pid):
    """Whether it runs; one that ended and was not yet asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_pieces_come_in_the_order_asked_for(started):
    asked = pieces(3000)
    for piece, made in zip(asked, made_by_workers(asked, 2), strict=True):
        np.testing.assert_array_equal(made, make_piece(piece))
    assert len(started) == 2
    assert_nothing_is_left(started)


def test_no_more_workers_are_started_than_there_are_pieces(started):
    assert len(list(made_by_workers(pieces(100), 64))) == 1
    assert len(started) == 1


def test_work_is_handed_out_only_a_little_ahead(started):
    asked = iter(pieces(10**6))
    made = made_by_workers(asked, 2)
    next(made)
    # Three for each worker; the one that was taken is among them.
    assert next(asked).first_chunk == 6 * 16
    made.close()
    assert_nothing_is_left(started)


def test_workers_use_one_thread_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    monkeypatch.setattr(pool, "START", f"import os; print([os.environ[name] for name in {names}])")
    with pytest.raises(DatasetError, match=r": \['1', '1', '1'\]; use"):
        list(made_by_workers(pieces(1), 1))


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (ENDS_AT_ONCE, "ended with exit code 3 while it made 8PSK at 10 dB: no room left; use fewer workers"),
        (DIES_IN_THE_MIDDLE, "ended with exit code 1"),
        (IS_KILLED, r"was killed by signal 9 \(9 may be a want of memory\) while it made 8PSK at 10 dB; use fewer"),
    ],
)
def test_a_workers_death_is_one_error_and_the_end_of_all(monkeypatch, started, program, says):
    monkeypatch.setattr(pool, "START", program)
    with pytest.raises(DatasetError, match=says):
        list(made_by_workers(pieces(20_000), 3))
    assert len(started) == 3
    assert_nothing_is_left(started)


def test_one_worker_killed_among_others_ends_the_work(started):
    made = made_by_workers(pieces(10**6), 2)
    next(made)
    started[0].kill()
    with pytest.raises(DatasetError, match="killed by signal 9"):
        list(made)
    assert_nothing_is_left(started)


def test_an_error_of_the_caller_does_not_wait_for_workers_that_hang(monkeypatch, started):
    monkeypatch.setattr(pool, "START", NEVER_ANSWERS)

    def asked():
        yield from pieces(3000)
        raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(made_by_workers(asked(), 2))
    assert time.monotonic() - begin < 10
    assert_nothing_is_left(started)


def test_a_worker_that_cannot_be_started_is_said(monkeypatch):
    monkeypatch.setattr(pool.sys, "executable", "/nowhere/python")
    with pytest.raises(DatasetError, match="a worker cannot be started: No such file or directory; use fewer workers"):
        list(made_by_workers(pieces(1), 1))
    monkeypatch.setattr(pool.sys, "executable", "")
    with pytest.raises(DatasetError, match="does not know its own Python, to start workers; use workers=1"):
        list(made_by_workers(pieces(1), 1))


def test_neither_prints_nor_files_of_the_same_names_disturb_a_worker(monkeypatch, tmp_path):
    for name in ("json", "numpy", "toolchain"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pool, "START", f"print('hello'); {START}")
    (asked,) = pieces(3)
    (made,) = made_by_workers([asked], 1)
    np.testing.assert_array_equal(made, make_piece(asked))


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_a_plain_script_may_use_workers_and_takes_them_along_when_it_is_ended(tmp_path, by):
    script = tmp_path / "make_frames.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        try:
            assert running.stdout.readline() == "2048\n"
            workers = children_of(running.pid)
            assert len(workers) == 2
            # As Ctrl-C does: to the whole group of the terminal.
            os.killpg(running.pid, by)
            said = running.communicate(timeout=20)[1]
        finally:
            running.kill()
    assert running.returncode == -by
    if by == signal.SIGINT:
        assert said.rstrip().endswith("KeyboardInterrupt")
        assert said.count("Traceback") == 1
    until = time.monotonic() + 10
    while any(map(runs, workers)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(runs, workers))


def test_a_script_that_ends_with_blocks_left_over_ends_quietly():
    done = subprocess.run([sys.executable, "-c", LEFT_OVER], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
