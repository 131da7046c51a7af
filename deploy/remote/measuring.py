"""A model measured on another machine: what it needs is brought there, it measures, and the records come back."""

from __future__ import annotations

import logging
import secrets
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.child_process import message_in
from deploy.errors import DeployError, DeviceError
from deploy.profiling import BEST, Profile, Subject
from deploy.progress import Progress, silent
from deploy.remote.brought import brought_extras, wheels_in
from deploy.remote.connection import Connection
from deploy.remote.device_side import REQUEST, SAMPLES, Request, Settings
from deploy.remote.guard import PUT_BACK_S
from deploy.remote.setting_up import (
    ANSWER_S,
    GUARD,
    KEPT,
    PLAIN,
    Survey,
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
from deploy.targets import check_is, target_of

log = logging.getLogger(__name__)


def profile_there(
    connection: Connection,
    subject: Subject,
    against: Subject | None,
    settings: Settings,
    *,
    target: Target | None = None,
    wheels: Path | None = None,
    keep: bool = True,
    keep_subject: bool = True,
    samples_path: Path | None = None,
    progress: Progress = silent,
) -> Profile:
    """Measure ``subject`` on the machine at ``connection`` as ``settings`` say; the ``target`` is that machine's where None.

    ``wheels`` is a folder of wheels for a device without a network. What was copied and installed stays there for the next
    call, unless ``keep`` is False; the ``subject`` alone goes where ``keep_subject`` is False and it was not there before.

    Raises DeviceError where the machine cannot be reached or cannot do it, and any other DeployError as it is told there.
    """

    def tell(note: str) -> None:
        progress(0, 1, note)

    tell("looking around")
    there = survey(connection)
    address = connection.device.address
    work = f"{there.folder}/tasks/{secrets.token_hex(8)}"
    subjects = [each for each in (subject, against) if each is not None]
    of_no_more_use: list[str] = []
    try:
        if target is None:
            target = target_of(there.machine, there.device_tree)
        else:
            way_out = "name its own with --target"
            check_is(target, there.machine, there.device_tree, whose=address, way_out=way_out)
        runtime = settings.runtime or target.measuring.runtime
        extras = extras_for(address, runtime, target)
        python, extras = choose_python(address, there.pythons, extras, needed=runtime != BEST)
        brought = [] if wheels is None else wheels_in(wheels, extras, python, there.machine)
        if brought and runtime == BEST:
            extras = brought_extras(extras, brought)
        with tempfile.TemporaryDirectory(prefix="thinwave-") as scratch:
            wheel = pack_wheel(Path(scratch))
            files = [path for each in subjects for path in files_of(each).values()]
            sent = send(connection, there, [GUARD, wheel, *brought, *files], tell)
        places = [place_subject(connection, there, each, sent) for each in subjects]
        if not keep_subject:
            of_no_more_use = _of_subject_alone(subject, against, places, sent, there)
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
        # What pip and Python say goes to stderr: stdout is for the records. In the work's folder: what lies in the home of the
        # user must not come before the installed packages.
        task = (
            f"export TMPDIR={work} XDG_CACHE_HOME={there.folder}/cache\n{{\n{install}}} >&2\ncd {work}\n"
            f"exec {interpreter} -m deploy.remote.device_side {work}\n"
        )
        _place(connection, work, {"task.sh": task, REQUEST: request.to_json()})
        tell("installing")
        found = _measure(connection, (python.path, sent[GUARD], work, "sh", f"{work}/task.sh"), wheels, progress)
        if samples_path is not None:
            _fetch(connection, f"{work}/{SAMPLES}", samples_path)
    finally:
        _clean(connection, there.folder, work, of_no_more_use, everything=not keep)
    return Profile.from_json(found, where=address)


def _of_subject_alone(
    subject: Subject, against: Subject | None, places: Sequence[str], sent: Mapping[Path, str], there: Survey
) -> list[str]:
    """The paths there of what only ``subject`` has: neither the model beside it, nor what was there before."""
    other = set() if against is None else {sent[path] for path in files_of(against).values()}
    files = {sent[path] for path in files_of(subject).values()} - other
    new = [path for path in files if path.rpartition("/")[2] not in there.files]
    folder = places[0].removesuffix(f"/{PLAIN}")
    return [folder, *new] if new and places[0] not in places[1:] else []


def _fetch(connection: Connection, file: str, path: Path) -> None:
    """Copy a file from there, whole or not at all. The measurement is here already: without the file it is not lost."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        connection.copy_here(file, partial)
        partial.replace(path)
    except (DeviceError, OSError) as error:
        log.warning("%s: the samples could not be fetched: %s", path, error)
    finally:
        partial.unlink(missing_ok=True)


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
        elif isinstance(message.get("warning"), str):
            log.warning("%s: %s", connection.device.address, message["warning"])

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


def _clean(connection: Connection, folder: str, work: str, of_no_more_use: Sequence[str], *, everything: bool) -> None:
    """Remove the ``work``, what is of no more use, and with ``everything`` all that thinwave keeps there.

    But for the first, nothing goes that another call is at work with; one that was cut off just now is waited for. Where the
    link is cut, the guard there has removed the work's folder.
    """
    address = connection.device.address
    locked = f"flock --timeout {PUT_BACK_S + 2:.0f} --conflict-exit-code 75 lock"
    script = f"rm -rf {work}\ncd {folder} || exit 0\n"
    if of_no_more_use:
        script += f"{locked} rm -rf {' '.join(of_no_more_use)}\n"
    if everything:
        inside = f"rm -rf {' '.join(KEPT)}; rmdir tasks && cd / && rmdir {folder}"
        script += f"""said=$({locked} sh -c '{inside}' 2>&1)
[ $? != 75 ] || said='another call is at work there'
[ ! -e {folder} ] || echo "${{said:-something else lies in it}}"
"""
    try:
        left = connection.run(f"{script}true\n", timeout_s=ANSWER_S).strip()
    except DeviceError as error:
        left = str(error).removeprefix(f"{address}: ")
    if everything and left:
        log.warning("%s: %s was not removed: %s", address, folder, left)
