"""A model measured on another machine: what it needs is brought there, it measures, and the records come back."""

from __future__ import annotations

import secrets
import shlex
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from deploy.child_process import message_in
from deploy.errors import DeployError, DeviceError
from deploy.profiling import Profile, Subject
from deploy.progress import Progress, silent
from deploy.remote.connection import Connection
from deploy.remote.device_side import REQUEST, SAMPLES, Request, Settings
from deploy.remote.setting_up import (
    ANSWER_S,
    GUARD,
    KEPT,
    PLAIN,
    choose_python,
    environment_script,
    extras_for,
    files_of,
    place_subject,
    send,
    survey,
)
from deploy.remote.wheel import pack_wheel
from deploy.target_profile import Target
from deploy.targets import target_of


def profile_there(
    connection: Connection,
    subject: Subject,
    against: Subject | None,
    settings: Settings,
    *,
    target: Target | None = None,
    wheels: Path | None = None,
    keep: bool = True,
    keep_models: bool = True,
    samples_path: Path | None = None,
    progress: Progress = silent,
) -> Profile:
    """Measure ``subject`` on the machine at ``connection`` as ``settings`` say; the ``target`` is that machine's where None.

    ``wheels`` is a folder of wheels for a device without a network. What was copied and installed stays there for the next
    call, unless ``keep`` is False; the models alone go where ``keep_models`` is. Raises DeviceError where the machine cannot
    be reached or cannot do it, and any other DeployError as it would be told there.
    """

    def tell(note: str) -> None:
        progress(0, 1, note)

    tell("looking around")
    there = survey(connection)
    address = connection.device.address
    work = f"{there.folder}/tasks/{secrets.token_hex(8)}"
    subjects = [each for each in (subject, against) if each is not None]
    models: list[str] = []
    try:
        target = target or target_of(there.machine, there.device_tree)
        extras = extras_for(address, settings.runtime or target.measuring.runtime, target)
        python = choose_python(address, there.pythons, with_tensorrt="tensorrt" in extras)
        with tempfile.TemporaryDirectory(prefix="thinwave-") as scratch:
            wheel = pack_wheel(Path(scratch))
            brought = [] if wheels is None else wheels_in(wheels)
            files = [path for each in subjects for path in files_of(each).values()]
            sent = send(connection, there, [GUARD, wheel, *brought, *files], tell)
        places = [place_subject(connection, there, each, sent) for each in subjects]
        models = [*(place.removesuffix(f"/{PLAIN}") for place in places), *(sent[path] for path in files)]
        interpreter, install = environment_script(
            there,
            python,
            wheel=(wheel.name, sent[wheel]),
            extras=extras,
            wheels={path.name: sent[path] for path in brought},
        )
        request = Request(
            subject=places[0],
            against=places[1] if against is not None else None,
            target=target.model_dump(mode="json"),
            with_samples=samples_path is not None,
            settings=settings,
        )
        # In the work's folder: what lies in the home of the user must not come before the installed packages.
        task = (
            f"{install}export XDG_CACHE_HOME={there.folder}/cache\ncd {work}\n"
            f"exec {interpreter} -m deploy.remote.device_side {work}\n"
        )
        _place(connection, work, {"task.sh": task, REQUEST: request.to_json()})
        tell("installing")
        found = _measure(connection, (python.path, sent[GUARD], work, "sh", f"{work}/task.sh"), wheels, progress)
        if samples_path is not None:
            connection.copy_here(f"{work}/{SAMPLES}", samples_path)
    finally:
        _clean(connection, there.folder, [work, *(() if keep_models else models)], everything=not keep)
    return Profile.from_json(found, where=address)


def wheels_in(folder: Path) -> list[Path]:
    """The wheels in a folder; raises DeviceError where there are none."""
    found = sorted(folder.glob("*.whl"))
    if not found:
        raise DeviceError(f"{folder}: holds no wheels; fill it on a machine with a network: {download_command(folder)}")
    return found


def download_command(folder: Path) -> str:
    """The command that fetches the wheels of the base for a 64-bit Arm device with Python 3.10, as JetPack 6 has."""
    platforms = "manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64"
    needed = [text.partition(";")[0].strip() for text in metadata.requires("thinwave") or () if "extra ==" not in text]
    words = ["pip", "download", "--only-binary=:all:", "--python-version", "3.10", "--dest", str(folder)]
    return shlex.join([*words, *(word for name in platforms for word in ("--platform", name)), *needed])


def _way_out(told: str, wheels: Path | None) -> str:
    """What helps where the environment could not be made."""
    if "ensurepip" in told or "python3-venv" in told:
        return "; install what makes environments there (Debian: apt install python3-venv)"
    if "No matching distribution" in told or "Could not find a version" in told:
        return (
            "; a device without a network is brought its wheels with --wheels FOLDER"
            if wheels is None
            else f"; {wheels} lacks that wheel for the device's Python and architecture"
        )
    return ""


def _measure(connection: Connection, guarded: Sequence[str], wheels: Path | None, progress: Progress) -> dict[str, Any]:
    """Let it install and measure; return the result. Raises DeployError with the error that it tells."""
    results: list[dict[str, Any]] = []
    errors: list[str] = []

    def hear(line: bytes) -> None:
        message = message_in(line)
        if isinstance(told := message.get("progress"), list) and len(told) == 3:
            progress(int(told[0]), int(told[1]), str(told[2]))
        elif isinstance(message.get("result"), dict):
            results.append(message["result"])
        elif isinstance(message.get("error"), str):
            errors.append(message["error"])

    try:
        connection.converse(guarded, hear)
    except DeviceError as error:
        # A link that breaks after the result has lost nothing.
        if not errors and not results:
            raise DeviceError(f"{error}{_way_out(str(error), wheels)}") from error
    if errors:
        raise DeployError(f"{connection.device.address}: {errors[0]}")
    if not results:
        raise DeviceError(f"{connection.device.address}: the process there ended without a result")
    return results[0]


def _place(connection: Connection, work: str, files: dict[str, str]) -> None:
    """Write small files into the work's folder there."""
    texts = "".join(f"printf %s {shlex.quote(text)} > {name}\n" for name, text in files.items())
    connection.run(f"set -e\numask 077\nmkdir -p {work}\ncd {work}\n{texts}", timeout_s=ANSWER_S)


def _clean(connection: Connection, folder: str, paths: Sequence[str], *, everything: bool) -> None:
    """Remove ``paths``, and with ``everything`` all that thinwave keeps there, unless another call is at work with it.

    Where the link is cut, the guard there has removed the work's folder.
    """
    script = f"rm -rf {' '.join(paths)}\n"
    if everything:
        inside = f"rm -rf {' '.join(KEPT)}; rmdir tasks && cd / && rmdir {folder}"
        script += f"cd {folder} && flock --nonblock lock sh -c '{inside}' 2>/dev/null || true\n"
    with suppress(DeviceError):
        connection.run(script, timeout_s=ANSWER_S)
