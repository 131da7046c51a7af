"""The measuring process on the device: ``python -m deploy.remote.device_side FOLDER``, under :mod:`deploy.remote.guard`.

FOLDER holds ``request.json``, the :class:`Request`, and is where it leaves the samples and what it needs meanwhile. It writes
lines of JSON on stdout: ``{"progress": [done, total, note]}`` as it goes, and ``{"result": …}`` or ``{"error": …}`` last.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.errors import DeployError, TargetError
from deploy.names import Precision

REQUEST, SAMPLES = "request.json", "samples.npz"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be measured: paths are those on the device, ``target`` is the profile's own JSON, None for the one there.

    All else is as :func:`deploy.profiling.profile` takes it.
    """

    subject: str
    against: str | None
    target: dict[str, Any] | None
    precision: Precision | None
    runtime: str | None
    threads: int | None
    batch: int | None
    processes: int
    seconds: float
    with_layers: bool
    with_samples: bool
    power_mode: str | None

    def to_json(self) -> str:
        """Return the text of ``request.json``."""
        return json.dumps(asdict(self))


def main() -> int:
    """Serve one request; return the exit code."""
    folder = Path(sys.argv[1]).resolve()
    # What a library prints goes to stderr.
    protocol = os.dup(1)
    os.dup2(2, 1)
    tempfile.tempdir = str(folder)

    def say(message: dict[str, Any]) -> None:
        os.write(protocol, json.dumps(message).encode() + b"\n")

    try:
        request = Request(**json.loads((folder / REQUEST).read_text(encoding="utf-8")))
        result = measure_here(request, folder, lambda *told: say({"progress": told}))
    except DeployError as error:
        say({"error": str(error)})
        return 2
    say({"result": result})
    return 0


def measure_here(request: Request, folder: Path, progress: Any) -> dict[str, Any]:
    """Measure on this machine; return the profile's JSON and leave the samples in ``folder``."""
    from deploy.power_mode import in_power_mode
    from deploy.profiling import open_subject, profile
    from deploy.strict_reading import read_strictly
    from deploy.target_profile import Target
    from deploy.targets import this_machine

    target = (
        this_machine()
        if request.target is None
        else read_strictly(Target, request.target, where="target", error=TargetError)
    )
    with in_power_mode(request.power_mode):
        found = profile(
            open_subject(Path(request.subject)),
            None if request.against is None else open_subject(Path(request.against)),
            target=target,
            precision=request.precision,
            runtime=request.runtime,
            threads=request.threads,
            batch=request.batch,
            processes=request.processes,
            seconds=request.seconds,
            with_layers=request.with_layers,
            samples_path=folder / SAMPLES if request.with_samples else None,
            progress=progress,
        )
    return found.to_json()


if __name__ == "__main__":
    sys.exit(main())
