"""What all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
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


@pytest.fixture(scope="session")
def noise_set() -> Callable[..., Path]:
    """Write 400 frames of noise to a path, 5 classes (names in their order) by turns, at 0, 6, 12 and 18 dB."""

    def write(path: Path, *, classes: Sequence[str], length: int, sample_rate_hz: float | None = None) -> Path:
        from toolchain.data import write_h5

        write_h5(
            path,
            iq=np.random.default_rng(0).normal(size=(400, 2, length)).astype(np.float32),
            label=np.tile(np.arange(5), 80),
            snr_db=np.repeat([0.0, 6.0, 12.0, 18.0], 100).astype(np.float32),
            classes=tuple(classes),
            sample_rate_hz=sample_rate_hz,
            made_by="noise",
        )
        return path

    return write


@pytest.fixture(scope="session")
def untrained_bundle(noise_set: Callable[..., Path]) -> Callable[..., Path]:
    """Export a 1-D ResNet-20 that knows nothing into ``bundle`` in a folder, beside frames of noise."""

    def write(folder: Path, *, length: int, precisions: Sequence[str]) -> Path:
        from toolchain.data import Part, open_dataset, stratified_split
        from toolchain.export import Frames, from_model, write_bundle
        from toolchain.models import ModelCard, create_model

        classes = ("8PSK", "AM-DSB", "BPSK", "GFSK", "WBFM")
        dataset = open_dataset(noise_set(folder / "frames.h5", classes=classes, length=length))
        split = stratified_split(dataset.labels, dataset.snr_db, seed=1, classes=dataset.classes)
        parts = {name: Part(dataset, getattr(split, name)) for name in ("train", "validation", "test")}
        card = ModelCard(architecture="resnet1d20", classes=classes, length=length)
        (folder / "bundle").mkdir()
        origin = from_model(create_model("resnet1d20", classes=5, length=length).eval(), card)
        write_bundle(folder / "bundle", origin, Frames(**parts), precisions, most_drop=1.0)
        return folder / "bundle"

    return write
