"""What a device needs before it can measure: the files, copied once by their hash, and an environment of Python's.

In the device's folder are ``files/HASH``, what was copied; ``bundles/HASH/``, of links to them; ``environments/HASH/``; and
``work/NAME/``, which one measurement needs meanwhile. All but the last stays for the next call.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.bundle import MANIFEST_NAME, sha256_of
from deploy.errors import DeviceError
from deploy.profiling import Subject
from deploy.remote.connection import MAKE_ROOM, Connection

# The oldest that runs the device package.
OLDEST_PYTHON = (3, 10)
PYTHONS = ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10")
ANSWER_S = 60.0
# What lies in the device's folder.
KEPT = ("files", "bundles", "environments", "work", "lock")
# What an ONNX file without a bundle is called there.
PLAIN = "model.onnx"
GUARD = Path(__file__).with_name("guard.py")
# Of a path that goes through a shell whose kind nobody knows.
SAFE_PATH = re.compile(r"[A-Za-z0-9._/+-]+")

_SURVEY = """
set -e
umask 077
mkdir -p {folder}/files {folder}/bundles {folder}/environments {folder}/work
cd {folder}
echo "folder $(pwd -P)"
echo "machine $(uname -m)"
echo "free $(df -Pk . | awk 'NR == 2 {{ print $4 }}')"
for name in {pythons}; do
  path=$(command -v $name) || continue
  version=$($path -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
  tensorrt=$($path -c 'import tensorrt; print(tensorrt.__version__)' 2>/dev/null) || tensorrt=-
  echo "python $path $version $tensorrt"
done
for file in files/*; do
  case $file in *.part) rm -f "$file" ;; 'files/*') ;; *) echo "file ${{file#files/}}" ;; esac
done
"""


@dataclass(frozen=True, kw_only=True)
class Python:
    """A Python over there: its path, its version, and that of the TensorRT that it finds, None for none."""

    path: str
    version: tuple[int, ...]
    tensorrt: str | None


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What is there: the folder's whole path, the architecture, the room on its disk, the Pythons, and what was copied before.

    ``free_bytes`` is None where the system does not say it; ``files`` are hashes.
    """

    folder: str
    machine: str
    free_bytes: int | None
    pythons: tuple[Python, ...]
    files: frozenset[str]


def survey(connection: Connection) -> Survey:
    """Make the folder and look around; raises DeviceError."""
    folder = shlex.quote(connection.device.folder)
    said = connection.run(_SURVEY.format(folder=folder, pythons=" ".join(PYTHONS)), timeout_s=ANSWER_S)
    rows = [line.split(" ") for line in said.splitlines()]
    facts = {row[0]: row[1] for row in rows if row[0] in ("folder", "machine", "free") and len(row) == 2}
    if not {"folder", "machine"} <= facts.keys() or not SAFE_PATH.fullmatch(facts["folder"]):
        raise DeviceError(
            f"{connection.device.address}: its folder is {facts.get('folder', 'not told')!r}, expected letters, digits and "
            ". _ + - / only; name another behind the address"
        )
    found = (row[1:] for row in rows if row[0] == "python" and len(row) == 4 and SAFE_PATH.fullmatch(row[1]))
    return Survey(
        folder=facts["folder"],
        machine=facts["machine"],
        free_bytes=int(facts["free"]) << 10 if facts.get("free", "").isdigit() else None,
        pythons=tuple(
            Python(
                path=path,
                version=tuple(int(part) for part in version.split(".")),
                tensorrt=None if tensorrt == "-" else tensorrt,
            )
            for path, version, tensorrt in found
        ),
        files=frozenset(row[1] for row in rows if row[0] == "file" and len(row) == 2),
    )


def choose_python(address: str, found: Sequence[Python], *, with_tensorrt: bool) -> Python:
    """The first that is new enough, where ``with_tensorrt`` the first that finds TensorRT; raises DeviceError."""
    fit = [python for python in found if python.version >= OLDEST_PYTHON]
    if not fit:
        there = ", ".join(f"{'.'.join(map(str, python.version))} ({python.path})" for python in found) or "none"
        raise DeviceError(
            f"{address}: thinwave needs Python 3.10 or newer there, and found: {there}; install one, or measure with the "
            "bundle's trtexec.sh on JetPack 4 and 5"
        )
    return next((python for python in fit if with_tensorrt and python.tensorrt), fit[0])


def files_of(subject: Subject) -> dict[str, Path]:
    """The files that travel, by their names there: those of a bundle, or the ONNX file."""
    if subject.bundle is None:
        return {PLAIN: subject.path}
    named = [entry.file for _, entry in subject.bundle.manifest.files()]
    return {name: subject.bundle.folder / name for name in (*named, MANIFEST_NAME)}


def send(connection: Connection, there: Survey, files: Iterable[Path], tell: Callable[[str], None]) -> dict[Path, str]:
    """Copy what is not there yet into ``files/``; return the path there of each. Raises DeviceError.

    A file has its name only when its hash was found to be right over there.
    """
    hashes = {path: sha256_of(path) for path in files}
    lacking = {digest: path for path, digest in hashes.items() if digest not in there.files}
    needed = sum(path.stat().st_size for path in lacking.values())
    if there.free_bytes is not None and needed > there.free_bytes:
        # scp says no more than that it failed.
        raise DeviceError(
            f"{connection.device.address}: {there.folder} has room for {there.free_bytes / 2**20:.1f} MiB, and "
            f"{needed / 2**20:.1f} are to be copied; {MAKE_ROOM}"
        )
    with tempfile.TemporaryDirectory(prefix="thinwave-") as scratch:
        for number, (digest, path) in enumerate(lacking.items()):
            tell(f"copying {path.name}, {number + 1} of {len(lacking)}")
            part = Path(scratch) / f"{digest}.part"
            part.symlink_to(path.resolve())
            connection.copy_there([part], f"{there.folder}/files")
            connection.run(
                f"cd {there.folder}/files && echo '{digest}  {digest}.part' | sha256sum -c >/dev/null "
                f"&& mv {digest}.part {digest}",
                timeout_s=ANSWER_S,
            )
    return {path: f"{there.folder}/files/{digest}" for path, digest in hashes.items()}


def place_subject(connection: Connection, there: Survey, subject: Subject, sent: Mapping[Path, str]) -> str:
    """Make the folder of a bundle there, or of an ONNX file, of links to what was sent; return the path of what to open."""
    files = files_of(subject)
    key = Path(sent[subject.path]).name if subject.bundle is None else subject.bundle.manifest.manifest_sha256
    folder = f"{there.folder}/bundles/{key[:16]}"
    links = "".join(f"ln -f {sent[path]} {shlex.quote(name)}\n" for name, path in files.items())
    connection.run(f"set -e\nmkdir -p {folder}\ncd {folder}\n{links}", timeout_s=ANSWER_S)
    return f"{folder}/{PLAIN}" if subject.bundle is None else folder


def environment_script(
    there: Survey, python: Python, *, wheel: tuple[str, str], extra: str | None, wheels: Mapping[str, str]
) -> tuple[str, str]:
    """The path of the environment's Python there, and the script that makes it where it is not there yet.

    ``wheel`` is thinwave's name and path there; ``wheels`` are those that the user brings, name to path, and then no other
    source is asked. Other environments are removed: they are of other versions.
    """
    ingredients = [python.path, *map(str, python.version), *wheel, extra or "", *sorted(wheels.values())]
    key = hashlib.sha256("\n".join(ingredients).encode()).hexdigest()[:16]
    folder = f"{there.folder}/environments/{key}"
    brought = {wheel[0]: wheel[1], **wheels}
    links = "\n".join(f"ln -f {path} {shlex.quote(f'{folder}/wheels/{name}')}" for name, path in brought.items())
    # What JetPack brings is found by its own Python only.
    system = "--system-site-packages" if python.tensorrt else ""
    source = f"--no-index --find-links {folder}/wheels" if wheels else ""
    wanted = shlex.quote(f"{folder}/wheels/{wheel[0]}{f'[{extra}]' if extra else ''}")
    script = f"""set -e
[ -f {folder}/complete ] && exit 0
cd {there.folder}/environments
rm -rf ./*
mkdir -p {folder}/wheels
{links}
{python.path} -m venv {system} {folder}/venv
{folder}/venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check {source} {wanted}
touch {folder}/complete
"""
    return f"{folder}/venv/bin/python", script
