"""A device: a real sshd on the loopback, and a user of its own, whose Python has neither torch nor thinwave."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.remote.setting_up import PYTHONS

HERE = Path(__file__).parents[3]
BASE = ("numpy", "onnxruntime", "click", "pydantic", "rich", "h5py", "sigmf")


@dataclass
class Machine:
    """What a test knows of the device. ``calls`` is where the programs that stand before ssh and scp write what they do."""

    user: str
    port: int
    folder: Path
    wheels: Path
    calls: Path
    host_key: str
    environment: dict[str, str] = field(default_factory=dict)

    def know(self, port: int) -> None:
        """Write the server at that port into the known hosts."""
        with (self.folder / "known_hosts").open("a") as known:
            known.write(f"[127.0.0.1]:{port} {self.host_key}")

    def address(self, folder: str = "", port: int | None = None) -> str:
        return f"ssh://{self.user}@127.0.0.1:{port or self.port}{folder}"

    @property
    def home(self) -> Path:
        return Path(pwd.getpwnam(self.user).pw_dir)

    @property
    def uid(self) -> int:
        return pwd.getpwnam(self.user).pw_uid

    @property
    def store(self) -> Path:
        return self.home / ".cache/thinwave"

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "deploy.cli", *map(str, arguments)]

    def thinwave(self, *arguments: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        said = subprocess.run(
            self.command(*arguments),
            env={**self.environment, **environment}, capture_output=True, text=True, check=False, cwd=HERE,
        )  # fmt: skip
        assert said.returncode == code, said.stderr
        return said

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE,
        )  # fmt: skip

    def copied(self) -> list[str]:
        """What scp was called with since this was asked last."""
        lines = [line for line in self.calls.read_text().splitlines() if line.startswith("scp ")]
        self.calls.write_text("")
        return lines

    def running(self, what: str) -> bool:
        """Whether a process of the user's has ``what`` in its command line."""
        return subprocess.run(["pgrep", "-u", self.user, "-f", what], capture_output=True, check=False).returncode == 0

    def wait_until(self, true, *, seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < until, "it did not come to pass"
            time.sleep(0.1)


def _needs(condition: bool, what: str) -> None:
    if not condition:
        pytest.skip(f"needs {what}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    """Start an sshd for a user with settings of its own; give its port. All end with the tests."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    _needs(os.geteuid() == 0, "root, to add a user and to let it log in")
    _needs(program is not None, "an ssh server (Debian: apt install openssh-server)")
    folder = tmp_path_factory.mktemp("sshd")
    folder.chmod(0o755)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    running = []

    def start(keys: Path | str = ".ssh/authorized_keys", settings: str = "") -> int:
        port = _free_port()
        configuration = folder / f"sshd_{port}"
        configuration.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {keys}\n"
            f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\n"
            f"Subsystem sftp internal-sftp\n{settings}\n"
        )
        with (folder / f"log_{port}").open("wb") as log:
            running.append(subprocess.Popen([program, "-D", "-e", "-f", configuration], stderr=log))
        until = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < until, (folder / f"log_{port}").read_text()
            time.sleep(0.05)
        start.host_key = (folder / "host.pub").read_text()
        return port

    yield start
    for server in running:
        server.terminate()
        server.wait()


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """What a device without a network is brought: the wheels of the base dependencies, for the system's Python here."""
    folder = tmp_path_factory.mktemp("wheels")
    command = ["/usr/bin/python3", "-m", "venv", folder / "venv"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    _needs(made.returncode == 0, "environments of the system's Python (Debian: apt install python3-venv)")
    pip = [folder / "venv/bin/python", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--only-binary=:all:", "--constraint", HERE / "constraints.txt", "--dest", folder / "wheels", *BASE],
        check=True,
    )
    return folder / "wheels"


@pytest.fixture(scope="session")
def machine(sshd, wheels, tmp_path_factory):
    """The device that every test of the session shares: what one copied the next need not copy."""
    user = f"thinwave{os.getpid()}"
    folder = tmp_path_factory.mktemp("here")
    folder.chmod(0o755)
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", user], check=True)
    # An account without a password that is not locked: sshd lets nobody into a locked one.
    subprocess.run(["usermod", "--password", "*", user], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    # In the home: sshd reads it as the user, who may not look into the folders of tests.
    home = Path(pwd.getpwnam(user).pw_dir)
    (home / ".ssh").mkdir()
    (home / ".ssh/authorized_keys").write_text((folder / "key.pub").read_text())
    port = sshd()
    (folder / "config").write_text(
        f"IdentityFile {folder / 'key'}\nIdentitiesOnly yes\nUserKnownHostsFile {folder / 'known_hosts'}\n"
    )
    # ssh has the user's configuration from the account's home, whatever HOME says: programs of these names stand before it.
    programs = folder / "programs"
    programs.mkdir()
    for name in ("ssh", "scp"):
        inner = f"-F {folder / 'config'} -S {programs / 'ssh'}" if name == "scp" else f"-F {folder / 'config'}"
        (programs / name).write_text(
            f'#!/bin/sh\necho "{name} $*" >> {folder / "calls"}\nexec {shutil.which(name)} {inner} "$@"\n'
        )
        (programs / name).chmod(0o755)
    (folder / "calls").write_text("")
    found = Machine(
        user=user, port=port, folder=folder, wheels=wheels, calls=folder / "calls", host_key=sshd.host_key,
        environment={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
    )  # fmt: skip
    found.know(port)
    yield found
    subprocess.run(["pkill", "-KILL", "-u", user], check=False)
    subprocess.run(["userdel", "--remove", "--force", user], capture_output=True, check=False)


@pytest.fixture(scope="session")
def old_python(machine):
    """A folder for PATH whose Pythons all say that they are 3.8."""
    folder = machine.home / "old"
    folder.mkdir()
    for name in PYTHONS:
        (folder / name).write_text('#!/bin/sh\ncase "$*" in *version_info*) echo 3.8.10 ;; *) exit 1 ;; esac\n')
        (folder / name).chmod(0o755)
    return folder
