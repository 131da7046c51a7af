"""Jobs done here, in a real process of their own: what goes wrong with one is its own affair."""

import importlib.util
import sys
from pathlib import Path

import pytest

from toolchain.comparison.here import runner_here
from toolchain.comparison.jobs import Job

# Importable by its name in the processes that do the jobs.
_NAME = "comparison_working"
_FILE = Path(__file__).with_name("working.py")


@pytest.fixture
def working(monkeypatch, tmp_path):
    (tmp_path / f"{_NAME}.py").write_text(_FILE.read_text())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    spec = importlib.util.spec_from_file_location(_NAME, tmp_path / f"{_NAME}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, _NAME, module)
    spec.loader.exec_module(module)
    monkeypatch.syspath_prepend(tmp_path)
    return module


def test_a_job_that_fails_or_dies_takes_no_other_with_it(working, tmp_path):
    (tmp_path / "model").write_bytes(b"ab")

    def job(name, do):
        models = {"model": tmp_path / "model"}
        return Job(name=name, key=name, told=f"the {name}", do=do, values=3, models=models, steps=10)

    names = ("doubled", "refusing", "dying", "broken")
    jobs = [*(job(name, getattr(working, name)) for name in names), job("again", working.doubled)]
    ended, told = {}, []
    with runner_here(threads=1, work=lambda job: tmp_path / "work" / job.name) as run:
        run(
            jobs,
            lambda job, done: ended.update({job.name: done}),
            lambda done, total, note="": told.append((done, total, note)),
        )
        gone = Job(name="gone", key="", told="", do=working.doubled, values=1, models={"model": tmp_path / "none"})
        run([gone], lambda job, done: ended.update({job.name: done}), lambda done, total, note="": None)
    assert ended.pop("gone").failed == f"{tmp_path / 'none'}: cannot be read: No such file or directory"
    assert list(ended) == ["doubled", "refusing", "dying", "broken", "again"]
    for name in ("doubled", "again"):
        assert ended[name].record == {"doubled": 6, "threads": 1}
        assert ended[name].model == b"abab"
        assert ended[name].failed is None
        assert ended[name].worker
    assert ended["refusing"].failed == "3 cannot be pruned"
    assert ended["refusing"].trace == ""
    assert ended["broken"].failed == "ZeroDivisionError: of a bug"
    assert "in broken" in ended["broken"].trace
    assert "ended by signal 9; it may have wanted more memory than there is" in ended["dying"].failed
    # Progress goes on through all of them, in one count.
    assert (told[0][0], told[-1][0]) == (0, 50)
    assert {total for _, total, _ in told} == {50}
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert (5, 50, "1 of 5: the doubled, half way") in told
    # What it left in its folder is there for who goes on.
    assert (tmp_path / "work" / "doubled" / "made").exists()
