"""How a process of Python's is started that has what this one has."""

from __future__ import annotations

import os
import shlex
import sys

# A command and its arguments, where the system cannot start this Python by its name: an emulator's, a wrapper's.
VARIABLE = "THINWAVE_PYTHON"


def python_command() -> list[str]:
    """Return the words that start it: what :data:`VARIABLE` says, or this process's own Python."""
    return shlex.split(os.environ.get(VARIABLE, "")) or [sys.executable]
