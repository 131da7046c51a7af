"""How a process of Python's is started that has what this one has."""

from __future__ import annotations

import os
import shlex
import sys

from deploy.errors import DeployError

# A command and its arguments, where the system cannot start this Python by its name: an emulator's, a wrapper's.
VARIABLE = "THINWAVE_PYTHON"


def python_command() -> list[str]:
    """Return the words that start it: what :data:`VARIABLE` says, or this process's own Python.

    Raises DeployError where the variable holds no words.
    """
    told = os.environ.get(VARIABLE, "")
    try:
        return shlex.split(told) or [sys.executable]
    except ValueError as error:
        raise DeployError(f"{VARIABLE} = {told}: these are no words of a command ({error})") from error
