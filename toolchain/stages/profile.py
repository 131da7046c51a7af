"""profile: both bundles measured against each other on this machine. Leaves ``latency/``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploy.bundle import open_bundle
from deploy.latency import Model, measure
from deploy.progress import Progress
from deploy.targets import load_target
from toolchain.run_folder import StageOutput, write_json
from toolchain.stages.run import MODELS, Run

# Enough that no runtime finds its input in the cache as it left it.
DIFFERENT_FRAMES = 256


def make(run: Run, out: StageOutput, progress: Progress) -> str:
    """The records of :func:`deploy.latency.measure`, and every sample behind them."""
    table = run.recipe.profile
    target = load_target(table.target).name
    (out.path / "latency").mkdir()
    measured = measure(
        {
            name: Model(
                path=open_bundle(run.path / "bundles" / name).path_of(table.precision),
                runtime=table.runtime,
                precision=table.precision,
            )
            for name in MODELS
        },
        frames=_frames(run, table.batch),
        threads=table.threads,
        batch=table.batch,
        target=target,
        processes=table.processes,
        seconds=table.seconds,
        samples_path=out.path / "latency" / "samples.npz",
        scratch=out.work,
        progress=progress,
    )
    speedup = measured.ratio
    assert speedup is not None  # two models have a ratio
    records = {name: model.record.to_json() for name, model in measured.models.items()}
    write_json(out.path / "latency" / "latency.json", {"models": records, "speedup": speedup.to_json()})
    return f"pruned is {speedup.ratio:.2f} times faster ({speedup.low:.2f} to {speedup.high:.2f}) on {target}"


def _frames(run: Run, batch: int) -> NDArray[np.float32]:
    """Real frames to feed: a batch at least, repeated where the split has fewer."""
    frames = run.sample("validation", max(DIFFERENT_FRAMES, batch))
    return np.resize(frames, (max(len(frames), batch), *frames.shape[1:]))
