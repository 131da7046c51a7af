"""What all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# A shell starts what it runs in the background deaf to Ctrl-C, and so would be the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Where THINWAVE_NO_SKIP is set, as in CI, a test that would be skipped fails: a machine that lacks something shows."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("THINWAVE_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and THINWAVE_NO_SKIP allows none: {report.longrepr}"


@pytest.fixture(scope="session")
def real_file() -> Path:
    """A small file in the RML2016.10a format, made with GNU Radio; it lies beside the repository, where there is one."""
    path = Path(__file__).parents[2] / "shared" / "data" / "RML2016.10a_dict.pkl"
    if not path.is_file():
        pytest.skip("needs the real-format file ../shared/data/RML2016.10a_dict.pkl")
    return path
