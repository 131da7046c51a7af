"""A child process that serves one request and ends with its parent.

The child gets its request as the first line on stdin and keeps stdin open; when this process ends, however it ends,
the pipe closes and the child goes. It is in a session of its own, so that Ctrl-C reaches only the parent, which kills
it and says so once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from deploy.errors import MeasurementError

SHOWN_OF_A_LINE = 300


def ask_child(
    command: Sequence[str], request: bytes, *, environment: Mapping[str, str], tell: Callable[[str], None], name: str
) -> dict[str, Any]:
    """Start ``command``, hand it ``request``, call ``tell`` with each stage it names, and return its result.

    ``environment`` is added to this process's own. ``name`` names the child in messages. Raises MeasurementError where
    the command is not found, in its own words where it tells an error, and with the child's last line on stderr where it
    ends without a result or says something else.
    """
    if shutil.which(command[0]) is None:
        raise MeasurementError(f"{name}: the command that starts it was not found: {command[0]}")
    with tempfile.TemporaryFile() as stderr:
        try:
            child = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except OSError as error:
            raise MeasurementError(f"{name}: cannot start {command[0]}: {error.strerror}") from error
        with child:
            try:
                result, said = _listen(child, request, tell)
                code = child.wait()
            finally:
                child.kill()
        if code < 0:
            raise MeasurementError(f"{name} {_ended_by(-code)}: {_last_line(stderr) or said or 'it said nothing'}")
        if result is None or code != 0:
            last = _last_line(stderr) or said or "it said nothing"
            raise MeasurementError(f"{name} ended with exit code {code} and without a result: {last}")
        return result


def _ended_by(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        # A real-time signal has no name.
        name = "unknown"
    why = (
        "as the system does where memory runs out"
        if number == signal.SIGKILL
        else "the runtime in it could not bear this model"
    )
    return f"was ended by signal {number} ({name}), {why}"


def _listen(
    child: subprocess.Popen[bytes], request: bytes, tell: Callable[[str], None]
) -> tuple[dict[str, Any] | None, str]:
    """Return the child's result, if it gave one, and the first line that was no message of the protocol.

    Raises MeasurementError with the error that it tells.
    """
    assert child.stdin is not None
    assert child.stdout is not None
    # Past the buffer of child.stdin, which would try again on closing. A child that ended before it read says why on
    # its stderr.
    with suppress(BrokenPipeError):
        os.write(child.stdin.fileno(), request)
    result: dict[str, Any] | None = None
    said = ""
    for line in child.stdout:
        message = message_in(line)
        if isinstance(message.get("result"), dict):
            result = message["result"]
        elif isinstance(message.get("error"), str):
            raise MeasurementError(message["error"])
        elif isinstance(message.get("stage"), str):
            tell(message["stage"])
        else:
            said = said or line.decode(errors="replace").strip()[:SHOWN_OF_A_LINE]
    return (None if said else result), said


def message_in(line: bytes) -> dict[str, Any]:
    """The message in a line of the protocol; an empty one where the line is none."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _last_line(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").split("\n")
    return next((line.strip()[:SHOWN_OF_A_LINE] for line in reversed(lines) if line.strip()), "")
