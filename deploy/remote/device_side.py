"""The measuring process on the device: ``python -m deploy.remote.device_side FOLDER``, under :mod:`deploy.remote.guard`.

FOLDER holds ``request.json``, the :class:`Request`, and is where it leaves the samples. It writes lines of JSON on stdout:
``{"progress": [done, total, note]}`` and ``{"warning": text}`` as it goes, and ``{"result": …}`` or ``{"error": …}`` last.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.command_line import end_on_sigterm
from deploy.errors import DeployError, TargetError, first_line
from deploy.names import Precision
from deploy.remote.connection import MAKE_ROOM

REQUEST, SAMPLES = "request.json", "samples.npz"
# With less than that free, what could not be written found no room.
ALMOST_FULL_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it is to be measured, as :func:`deploy.profiling.profile` takes it, and the power mode to do it in."""

    precision: Precision | None = None
    runtime: str | None = None
    threads: int | None = None
    batch: int | None = None
    processes: int = 10
    seconds: float = 3.0
    with_layers: bool = False
    power_mode: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be measured: paths are those on the device, ``target`` is the profile's own JSON."""

    subject: str
    against: str | None
    target: dict[str, Any]
    with_samples: bool
    settings: Settings

    def to_json(self) -> str:
        """Return the text of ``request.json``."""
        return json.dumps(asdict(self))


def main() -> int:
    """Serve one request; return the exit code."""
    # The guard asks so where the link was cut: a power mode is set back on the way out.
    end_on_sigterm()
    folder = Path(sys.argv[1]).resolve()
    # What a library prints goes to stderr.
    protocol = os.dup(1)
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        os.write(protocol, json.dumps(message).encode() + b"\n")

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say({"warning": record.getMessage()})

    logging.getLogger("deploy").addHandler(Told(logging.WARNING))
    try:
        told = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
        request = Request(**{**told, "settings": Settings(**told["settings"])})
        result = measure_here(request, folder, lambda *told: say({"progress": told}))
    except DeployError as error:
        say({"error": str(error)})
        return 2
    except (OSError, MemoryError) as error:
        # numpy says of a full disk that less was written than asked for.
        full = isinstance(error, OSError) and shutil.disk_usage(folder).free < ALMOST_FULL_BYTES
        say({"error": f"{first_line(error)}{f' (the disk is full); {MAKE_ROOM}' if full else ''}"})
        return 2
    say({"result": result})
    return 0


def measure_here(request: Request, folder: Path, progress: Any) -> dict[str, Any]:
    """Measure on this machine; return the profile's JSON and leave the samples in ``folder``."""
    from deploy.power_mode import in_power_mode
    from deploy.profiling import open_subject, profile
    from deploy.strict_reading import read_strictly
    from deploy.target_profile import Target

    target = read_strictly(Target, request.target, where="target", error=TargetError)
    settings = asdict(request.settings)
    subject = open_subject(Path(request.subject))
    against = None if request.against is None else open_subject(Path(request.against))
    with in_power_mode(settings.pop("power_mode")):
        found = profile(
            subject,
            against,
            target=target,
            **settings,
            samples_path=folder / SAMPLES if request.with_samples else None,
            progress=progress,
        )
    return found.to_json()


if __name__ == "__main__":
    sys.exit(main())
