"""Run a command on the device, and end it with all that it started when the link to the other side is cut.

    python3 guard.py FOLDER/tasks/NAME COMMAND…

The other side writes a byte on stdin every few seconds. Where none comes for a while, or stdin ends, nobody is left to hear of
the work: it is asked to end, has a few seconds to put back what it changed, and is ended with all that it started; the
folder, where it keeps what it needs meanwhile, is removed. One command runs at a time under a FOLDER. Copied to the device
before anything is installed there, so it imports nothing but Python's own library.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

LINK_CUT, BUSY = 3, 4
# Six of the beats that the other side sends.
SILENCE_S = 30.0
# What a command has to set the former power mode again.
PUT_BACK_S = 10.0
# A folder as old is of a device that lost its power meanwhile; a younger one may be fetched from just now.
FORGOTTEN_S = 86_400.0


def main() -> int:
    """Run the command; return its exit code, LINK_CUT or BUSY."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    lock = os.open(folder.parent.parent / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        print("another measurement is running there; wait for its end", file=sys.stderr)  # noqa: T201
        return BUSY
    for other in folder.parent.iterdir():
        # Another call may remove its own meanwhile.
        with suppress(FileNotFoundError):
            if other != folder and time.time() - other.stat().st_mtime > FORGOTTEN_S:
                shutil.rmtree(other, ignore_errors=True)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    cut, ended = threading.Event(), threading.Event()

    def end_with_the_link() -> None:
        while select.select([0], [], [], SILENCE_S)[0] and os.read(0, 4096):
            pass
        cut.set()
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            child.terminate()
            child.wait(PUT_BACK_S)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        ended.set()

    threading.Thread(target=end_with_the_link, daemon=True).start()
    code = child.wait()
    if cut.is_set():
        # What it started may outlive it by a moment.
        ended.wait()
        shutil.rmtree(folder, ignore_errors=True)
        return LINK_CUT
    # As shells tell of a command that a signal ended.
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
