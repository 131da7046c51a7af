"""Commands and copies on another machine, by the system's own ssh and scp: the user's configuration, keys and known hosts.

Nothing is asked on the terminal (``BatchMode``), so nothing hangs where nobody answers; a host that is not known is refused
by ssh itself, in its own words, which are told.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from deploy.errors import DeviceError
from deploy.remote.address import Device

# A link that is cut is noticed within a quarter of a minute.
OPTIONS: Final = (
    "-o", "BatchMode=yes",
    "-o", "ConnectTimeout=15",
    "-o", "ServerAliveInterval=5",
    "-o", "ServerAliveCountMax=3",
    "-o", "LogLevel=ERROR",
)  # fmt: skip
# What ssh ends with where it could not do its own part.
SSH_FAILED = 255
SHOWN_LINES = 3
BEAT_S = 5.0
# As ssh writes it, with the ways that were tried in brackets; of a file it is written without.
NO_KEY = "Permission denied ("
MAKE_ROOM = "make room there, or name a folder on another disk behind the address"
UNKNOWN_HOST = "Host key verification failed"


class Connection:
    """A machine over ssh. Every call is a connection of its own; :meth:`close` ends those that are under way."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def run(self, script: str, *, timeout_s: float | None = None) -> str:
        """Let a POSIX shell there read ``script``, whatever the user's login shell is; return what it wrote on stdout.

        Raises DeviceError with what it, or ssh, said on stderr.
        """
        code, stdout, stderr = self._call(self._ssh("sh", "-s"), script.encode(), timeout_s)
        if code:
            raise DeviceError(self.explain(code, stderr))
        return stdout.decode(errors="replace")

    def copy_there(self, files: Sequence[Path], folder: str) -> None:
        """Copy files into a folder there; raises DeviceError."""
        self._scp([os.fspath(file.absolute()) for file in files], f"{self.device.scp_login}:{folder}/")

    def copy_here(self, file: str, path: Path) -> None:
        """Copy a file from there; raises DeviceError."""
        self._scp([f"{self.device.scp_login}:{file}"], os.fspath(path.absolute()))

    def converse(self, words: Sequence[str], hear: Callable[[bytes], None]) -> None:
        """Run ``words``, which no shell changes, and ``hear`` each line on its stdout; its stdin hears a beat meanwhile.

        Where the beat ends, this side is gone. Raises DeviceError with what it, or ssh, said on stderr.
        """
        with tempfile.TemporaryFile() as stderr:
            child = self._start(self._ssh(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
            over = threading.Event()
            threading.Thread(target=_beat, args=(child, over), daemon=True).start()
            try:
                assert child.stdout is not None
                for line in child.stdout:
                    hear(line)
                code = child.wait()
            finally:
                over.set()
                self._end(child)
            stderr.seek(0)
            said = stderr.read().decode(errors="replace")
        if code:
            raise DeviceError(self.explain(code, said))

    def close(self) -> None:
        """End what is under way, and start nothing any more."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for child in running:
            child.kill()

    def explain(self, code: int, stderr: str) -> str:
        """Make a message of what a command there, or ssh, ended with and said."""
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        told = "; ".join(lines[-SHOWN_LINES:])
        if not told:
            cut = code == SSH_FAILED or code < 0
            told = "the link was cut; try again" if cut else f"ended with exit code {code} and said nothing"
        way_out = ""
        if NO_KEY in stderr and code == SSH_FAILED:
            way_out = f"; give it your key with: ssh-copy-id {self._by_hand()}"
        elif UNKNOWN_HOST in stderr:
            way_out = f"; connect once by hand, and look at its key: ssh {self._by_hand()}"
        elif "No space left on device" in stderr:
            way_out = f"; {MAKE_ROOM}"
        return f"{self.device.address}: {told}{way_out}"

    def _by_hand(self) -> str:
        port = "" if self.device.port is None else f"-p {self.device.port} "
        return f"{port}{self.device.login}"

    def _ssh(self, *remote: str) -> list[str]:
        port = () if self.device.port is None else ("-p", str(self.device.port))
        return [_tool("ssh"), *OPTIONS, *port, "-T", self.device.login, *remote]

    def _scp(self, sources: Sequence[str], destination: str) -> None:
        port = () if self.device.port is None else ("-P", str(self.device.port))
        code, _, stderr = self._call([_tool("scp"), "-q", *OPTIONS, *port, *sources, destination], b"", None)
        if code:
            # scp ends with 1 where ssh ended with 255.
            raise DeviceError(self.explain(SSH_FAILED, stderr))

    def _call(self, command: list[str], sent: bytes, timeout_s: float | None) -> tuple[int, bytes, str]:
        child = self._start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            stdout, stderr = child.communicate(sent, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"{self.device.address}: gave no answer within {timeout_s:.0f} s") from error
        finally:
            self._end(child)
        return child.returncode, stdout, stderr.decode(errors="replace")

    def _start(self, command: list[str], **streams: Any) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise DeviceError(f"{self.device.address}: the connection was closed")
            # In a session of its own: Ctrl-C reaches this process alone, which ends the call and says so once.
            child = subprocess.Popen(command, start_new_session=True, **streams)
            self._running.add(child)
        return child

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        with self._lock:
            self._running.discard(child)


def _beat(child: subprocess.Popen[bytes], over: threading.Event) -> None:
    assert child.stdin is not None
    with suppress(OSError, ValueError):
        while not over.wait(BEAT_S):
            os.write(child.stdin.fileno(), b".")


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise DeviceError(f"{name} is not installed here; install it (Debian: apt install openssh-client)")
    return found
