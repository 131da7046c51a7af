"""What a device needs before it can measure: the files, copied once by their hash, and an environment of Python's.

In thinwave's folder there are ``files/HASH``, what was copied; ``bundles/HASH/``, of links to them; ``environments/HASH/``;
``cache/``, the notes of engines; and ``tasks/NAME/``, which one measurement needs meanwhile. All but that stays for the next
call.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import shlex
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.bundle import MANIFEST_NAME, sha256_of
from deploy.errors import DeviceError
from deploy.names import TRTEXEC
from deploy.profiling import BEST, Subject
from deploy.remote.address import SAFE_PATH
from deploy.remote.connection import MAKE_ROOM, Connection
from deploy.runtimes import RUNTIMES
from deploy.target_profile import Target

log = logging.getLogger(__name__)

# The oldest that runs the device package.
OLDEST_PYTHON = (3, 10)
PYTHONS = ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10")
ANSWER_S = 60.0
# What lies in the folder for the next call.
KEPT = ("files", "bundles", "environments", "cache", "lock")
# The oldest TensorRT that is taken from the device, and what brings those that come as packages of Python's.
OLDEST_TENSORRT = (10, 3)
EXTRAS = {"openvino": "openvino", "openvino-bf16": "openvino", "tensorrt": "tensorrt"}
# What is in every environment.
BASE = ("onnxruntime",)
# What an ONNX file without a bundle is called there.
PLAIN = "model.onnx"
GUARD = Path(__file__).with_name("guard.py")

_SURVEY = """
set -e
umask 077
mkdir -p {folder}/files {folder}/bundles {folder}/environments {folder}/tasks
cd {folder}
echo "folder $(pwd -P)"
echo "machine $(uname -m)"
echo "device-tree $(tr '\\000' '|' < /proc/device-tree/compatible 2>/dev/null)"
echo "free $(df -Pk . | awk 'NR == 2 {{ print $4 }}')"
for name in {pythons}; do
  path=$(command -v $name) || continue
  version=$($path -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
  tensorrt=$($path -c 'import tensorrt; print(tensorrt.__version__)' 2>/dev/null) || tensorrt=-
  echo "python $path $version $tensorrt"
done
for file in files/*; do
  case $file in *.part | 'files/*') ;; *) echo "file ${{file#files/}}" ;; esac
done
# Of a copy that was cut off; a younger one may be under way.
find files -name '*.part' -mmin +60 -exec rm -f {{}} +
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

    ``device_tree`` is as the kernel says it, "" where there is none; ``free_bytes`` is None where the system does not say it;
    ``files`` are hashes.
    """

    folder: str
    machine: str
    device_tree: str
    free_bytes: int | None
    pythons: tuple[Python, ...]
    files: frozenset[str]


def survey(connection: Connection) -> Survey:
    """Make the folder and look around; raises DeviceError."""
    folder = shlex.quote(connection.device.folder)
    said = connection.run(_SURVEY.format(folder=folder, pythons=" ".join(PYTHONS)), timeout_s=ANSWER_S)
    rows = [line.split(" ") for line in said.splitlines()]
    facts = {row[0]: row[1] for row in rows if row[0] in ("folder", "machine", "device-tree", "free") and len(row) == 2}
    if not {"folder", "machine"} <= facts.keys() or not SAFE_PATH.fullmatch(facts["folder"]):
        raise DeviceError(
            f"{connection.device.address}: its folder is {facts.get('folder', 'not told')!r}, expected letters, digits and "
            ". _ + - / only; name another behind the address"
        )
    found = (
        row[1:]
        for row in rows
        if row[0] == "python" and len(row) == 4 and SAFE_PATH.fullmatch(row[1]) and _version(row[2]) is not None
    )
    return Survey(
        folder=facts["folder"],
        machine=facts["machine"],
        device_tree=facts.get("device-tree", "").replace("|", "\0"),
        free_bytes=int(facts["free"]) << 10 if facts.get("free", "").isdigit() else None,
        pythons=tuple(
            Python(path=path, version=_version(version) or (), tensorrt=None if tensorrt == "-" else tensorrt)
            for path, version, tensorrt in found
        ),
        files=frozenset(row[1] for row in rows if row[0] == "file" and len(row) == 2),
    )


def _version(text: str) -> tuple[int, ...] | None:
    """The numbers in front of "10.3.0", "8.6.2.3" or "10.13.3rc1"; None where there is none."""
    found = re.match(r"\d+(\.\d+)*", text)
    return None if found is None else tuple(int(part) for part in found.group().split("."))


def extras_for(address: str, runtime: str, target: Target) -> tuple[str, ...]:
    """What the environment there is to have beside the base for ``runtime``, "best" being all of the target's.

    Raises DeviceError for a runtime that is not installed over ssh.
    """
    if runtime == BEST:
        return tuple(dict.fromkeys(EXTRAS[name] for name in target.runtimes if name in EXTRAS))
    if runtime == TRTEXEC:
        raise DeviceError(
            f"{address}: {target.name} is measured by its own trtexec: run the bundle's trtexec.sh there, and read what it "
            "leaves with --from-trtexec"
        )
    if runtime in RUNTIMES and runtime not in (*BASE, *EXTRAS):
        raise DeviceError(
            f"{address}: {runtime} is not installed over ssh; install it there beside thinwave, and run `thinwave-device "
            "profile` there"
        )
    return (EXTRAS[runtime],) if runtime in EXTRAS else ()


def choose_python(
    address: str, found: Sequence[Python], extras: Sequence[str], *, needed: bool = True
) -> tuple[Python, tuple[str, ...]]:
    """The first that is new enough; for the extra "tensorrt" the first that finds a TensorRT new enough, where one does.

    Beside it the ``extras``, without "tensorrt" where that is too old and not ``needed``. Raises DeviceError.
    """
    extras = tuple(extras)
    fit = [python for python in found if python.version >= OLDEST_PYTHON]
    if not fit:
        there = ", ".join(f"{'.'.join(map(str, python.version))} ({python.path})" for python in found) or "none"
        raise DeviceError(
            f"{address}: thinwave needs Python 3.10 or newer there, and found: {there}; install one, or measure with the "
            "bundle's trtexec.sh on JetPack 4 and 5"
        )
    with_one = [python for python in fit if python.tensorrt is not None]
    if "tensorrt" not in extras or not with_one:
        return fit[0], extras
    new = next((python for python in with_one if (_version(python.tensorrt or "") or ()) >= OLDEST_TENSORRT), None)
    if new is None and not needed:
        log.warning("%s: its TensorRT %s is not tried, it is older than 10.3", address, with_one[0].tensorrt)
        return fit[0], tuple(extra for extra in extras if extra != "tensorrt")
    if new is None:
        raise DeviceError(
            f"{address}: thinwave needs TensorRT 10.3 or newer there, which comes with JetPack 6.1, and found "
            f"{with_one[0].tensorrt}; name another --runtime, or measure with the bundle's trtexec.sh"
        )
    return new, extras


def files_of(subject: Subject) -> dict[str, Path]:
    """The files that travel, by their names there: those of a bundle, or the ONNX file, with weights that lie beside it.

    These have the name that torch.onnx gives them; under another one nobody finds them there.
    """
    if subject.bundle is None:
        weights = subject.path.with_name(f"{subject.path.name}.data")
        return {PLAIN: subject.path, **({weights.name: weights} if weights.is_file() else {})}
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
            # Two calls may copy the same at once.
            part = Path(scratch) / f"{digest}.{secrets.token_hex(4)}.part"
            part.symlink_to(path.resolve())
            connection.copy_there([part], f"{there.folder}/files")
            connection.run(
                f"cd {there.folder}/files && echo '{digest}  {part.name}' | sha256sum -c >/dev/null "
                f"&& mv {part.name} {digest}",
                timeout_s=ANSWER_S,
            )
    return {path: f"{there.folder}/files/{digest}" for path, digest in hashes.items()}


def place_subject(connection: Connection, there: Survey, subject: Subject, sent: Mapping[Path, str]) -> str:
    """Make the folder of a bundle there, or of an ONNX file, of links to what was sent; return the path of what to open."""
    files = files_of(subject)
    if subject.bundle is None:
        # Two may have the same graph, and other weights beside it.
        hashes = sorted(Path(sent[path]).name for path in files.values())
        key = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    else:
        key = subject.bundle.manifest.manifest_sha256
    folder = f"{there.folder}/bundles/{key[:16]}"
    links = "".join(f"ln -f {sent[path]} {shlex.quote(name)}\n" for name, path in files.items())
    connection.run(f"set -e\nmkdir -p {folder}\ncd {folder}\n{links}", timeout_s=ANSWER_S)
    return f"{folder}/{PLAIN}" if subject.bundle is None else folder


def environment_script(
    there: Survey,
    python: Python,
    *,
    wheel: tuple[str, str],
    extras: Sequence[str],
    wheels: Mapping[str, str],
) -> tuple[str, str]:
    """The path of the environment's Python there, and the script that makes it where it is not there yet.

    ``wheel`` is thinwave's name and path there; ``wheels`` are those that the user brings, name to path, and then no other
    source is asked. Environments of another thinwave are removed.
    """
    ingredients = [python.path, *map(str, python.version), *extras, *sorted(wheels.values())]
    key = hashlib.sha256("\n".join(ingredients).encode()).hexdigest()[:16]
    ours = Path(wheel[1]).name[:16]
    folder = f"{there.folder}/environments/{ours}-{key}"
    # What was packed just now, whatever lies among the wheels.
    brought = {**wheels, wheel[0]: wheel[1]}
    links = "\n".join(f"ln -f {path} {shlex.quote(f'{folder}/wheels/{name}')}" for name, path in brought.items())
    # What JetPack brings is found by its own Python only.
    system = "--system-site-packages" if python.tensorrt and "tensorrt" in extras else ""
    source = f"--no-index --find-links {folder}/wheels" if wheels else ""
    named = f"[{','.join(extras)}]" if extras else ""
    wanted = shlex.quote(f"{folder}/wheels/{wheel[0]}{named}")
    script = f"""set -e
if [ ! -f {folder}/complete ]; then
for each in {there.folder}/environments/*; do
  case $each in {there.folder}/environments/{ours}-*) ;; *) rm -rf "$each" ;; esac
done
rm -rf {folder}
mkdir -p {folder}/wheels
{links}
{python.path} -m venv {system} {folder}/venv
{folder}/venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check {source} {wanted}
touch {folder}/complete
fi
"""
    return f"{folder}/venv/bin/python", script
