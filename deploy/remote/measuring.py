"""A model measured on another machine: what it needs is brought there, it measures, and the records come back."""

from __future__ import annotations

import json
import secrets
import shlex
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.errors import DeployError, DeviceError
from deploy.profiling import Profile, Subject
from deploy.progress import Progress, silent
from deploy.remote.connection import Connection
from deploy.remote.device_side import REQUEST, SAMPLES, Request
from deploy.remote.setting_up import (
    ANSWER_S,
    GUARD,
    KEPT,
    choose_python,
    environment_script,
    files_of,
    place_subject,
    send,
    survey,
)
from deploy.remote.wheel import pack_wheel

# What the environment there is to have beside the base.
EXTRAS = {"openvino": "openvino", "openvino-bf16": "openvino", "tensorrt": "tensorrt"}


def profile_there(
    connection: Connection,
    subject: Subject,
    against: Subject | None,
    request: Request,
    *,
    wheels: Path | None = None,
    keep: bool = True,
    samples_path: Path | None = None,
    progress: Progress = silent,
) -> Profile:
    """Measure ``subject`` on the machine at ``connection``, as ``request`` says but for the paths, which are made here.

    ``wheels`` is a folder of wheels for a device without a network. What was copied and installed stays there for the next
    call, unless ``keep`` is False. Raises DeviceError where the machine cannot be reached or cannot do it, and any other
    DeployError as it would be told there.
    """

    def tell(note: str) -> None:
        progress(0, 1, note)

    tell("looking around")
    there = survey(connection)
    address = connection.device.address
    extra = EXTRAS.get(request.runtime or "")
    python = choose_python(address, there.pythons, with_tensorrt=extra == "tensorrt")
    with tempfile.TemporaryDirectory(prefix="thinwave-") as scratch:
        wheel = pack_wheel(Path(scratch))
        brought = [] if wheels is None else wheels_in(wheels)
        subjects = [each for each in (subject, against) if each is not None]
        files = [path for each in subjects for path in files_of(each).values()]
        sent = send(connection, there, [GUARD, wheel, *brought, *files], tell)
    places = [place_subject(connection, there, each, sent) for each in subjects]
    work = f"{there.folder}/work/{secrets.token_hex(8)}"
    guarded = (python.path, sent[GUARD], work, "sh", f"{work}/task.sh")
    interpreter, script = environment_script(
        there,
        python,
        wheel=(wheel.name, sent[wheel]),
        extra=extra,
        wheels={path.name: sent[path] for path in brought},
    )
    try:
        tell("installing")
        _place(connection, work, {"task.sh": script})
        _install(connection, guarded, wheels)
        asked = replace(
            request,
            subject=places[0],
            against=places[1] if against is not None else None,
            with_samples=samples_path is not None,
        )
        task = f"exec {interpreter} -m deploy.remote.device_side {work}\n"
        _place(connection, work, {"task.sh": task, REQUEST: asked.to_json()})
        tell("starting")
        found = _measure(connection, guarded, progress)
        if samples_path is not None:
            connection.copy_here(f"{work}/{SAMPLES}", samples_path)
    finally:
        _clean(connection, there.folder, work if keep else None)
    return Profile.from_json(found, where=address)


def wheels_in(folder: Path) -> list[Path]:
    """The wheels in a folder; raises DeviceError where there are none."""
    found = sorted(folder.glob("*.whl"))
    if not found:
        raise DeviceError(
            f"{folder}: holds no wheels; fill it on a machine with a network: pip download --only-binary=:all: --dest "
            f"{folder} --platform manylinux_2_28_aarch64 --python-version 3.10 thinwave's dependencies"
        )
    return found


def _install(connection: Connection, guarded: Sequence[str], wheels: Path | None) -> None:
    try:
        connection.converse(guarded, lambda _: None)
    except DeviceError as error:
        told = str(error)
        if "ensurepip" in told or "python3-venv" in told:
            way_out = "install what makes environments there (Debian: apt install python3-venv)"
        elif "No matching distribution" in told or "Could not find a version" in told:
            way_out = (
                "a device without a network is brought its wheels with --wheels FOLDER"
                if wheels is None
                else f"{wheels} lacks that wheel for the device's Python and architecture"
            )
        else:
            raise
        raise DeviceError(f"{told}; {way_out}") from error


def _measure(connection: Connection, guarded: Sequence[str], progress: Progress) -> dict[str, Any]:
    """Let it measure; return the result. Raises DeployError with the error that it tells."""
    results: list[dict[str, Any]] = []
    errors: list[str] = []

    def hear(line: bytes) -> None:
        message = _message(line)
        if isinstance(told := message.get("progress"), list) and len(told) == 3:
            progress(int(told[0]), int(told[1]), str(told[2]))
        elif isinstance(message.get("result"), dict):
            results.append(message["result"])
        elif isinstance(message.get("error"), str):
            errors.append(message["error"])

    try:
        connection.converse(guarded, hear)
    except DeviceError:
        if not errors:
            raise
    if errors:
        raise DeployError(f"{connection.device.address}: {errors[0]}")
    if not results:
        raise DeviceError(f"{connection.device.address}: the process there ended without a result")
    return results[0]


def _place(connection: Connection, work: str, files: dict[str, str]) -> None:
    """Write small files into the work's folder there."""
    texts = "".join(f"printf %s {shlex.quote(text)} > {name}\n" for name, text in files.items())
    connection.run(f"set -e\numask 077\nmkdir -p {work}\ncd {work}\n{texts}", timeout_s=ANSWER_S)


def _clean(connection: Connection, folder: str, work: str | None) -> None:
    """Remove the work's folder, or with None all that thinwave keeps there.

    Where the link is cut, the guard there has done it, or does with the next call.
    """
    # By their names: the folder is the user's, and may hold more.
    everything = f"cd {folder} && rm -rf {' '.join(KEPT)} && cd / && rmdir {folder} 2>/dev/null || true"
    with suppress(DeviceError):
        connection.run(everything if work is None else f"rm -rf {work}", timeout_s=ANSWER_S)


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
