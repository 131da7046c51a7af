"""Measuring bundles: the model of one, or of one against another, on the target that this machine is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deploy.bundle import Bundle
from deploy.errors import BundleError
from deploy.host import describe_host
from deploy.latency import Measurement, measure
from deploy.noise import noise_frames
from deploy.progress import Progress, silent
from deploy.targets import Target, check_is_here

# Names in the measurement, the samples and the JSON. The ratio is against / bundle: how much faster the bundle is.
AGAINST, BUNDLE = "against", "bundle"

# Enough different frames that no processor learns them by heart, few enough to stay in its cache.
BATCHES_FED = 8


def profile_bundle(
    bundle: Bundle,
    against: Bundle | None = None,
    *,
    target: Target,
    precision: str | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    batch: int | None = None,
    processes: int = 10,
    seconds: float = 3.0,
    samples_path: Path | None = None,
    progress: Progress = silent,
) -> Measurement:
    """Measure the bundle's model by the protocol of :mod:`deploy.latency`, in turns with the one it stands ``against``.

    What is None is taken from the target's profile. Raises TargetError where this machine is not the target,
    BundleError for a precision that a bundle does not hold or bundles whose frames differ, and MeasurementError.
    """
    check_is_here(target)
    chosen = precision or target.measuring.precision
    models = {BUNDLE: bundle.path_of(chosen)}
    if against is not None:
        if against.manifest.input.shape != bundle.manifest.input.shape:
            raise BundleError(
                f"{bundle.folder} takes frames {bundle.manifest.input.shape} and {against.folder} takes "
                f"{against.manifest.input.shape}; only models of the same frames are measured against each other"
            )
        models = {AGAINST: against.path_of(chosen), **models}
    batch = batch or target.measuring.batch
    _, length = bundle.manifest.input.shape
    return measure(
        models,
        frames=noise_frames(BATCHES_FED * batch, length, np.random.default_rng(0)),
        runtime=runtime or target.measuring.runtime,
        threads=target.measuring.threads if threads is None else threads,
        batch=batch,
        target=target.name,
        processes=processes,
        seconds=seconds,
        samples_path=samples_path,
        progress=progress,
    )


def profile_json(measurement: Measurement) -> dict[str, Any]:
    """Return the measurement for JSON: the machine, the record of each model, and the speed-up (null for one model)."""
    return {
        "host": describe_host(),
        "models": {name: model.record.to_json() for name, model in measurement.models.items()},
        "speed_up": measurement.ratio.to_json() if measurement.ratio else None,
    }
