"""The device package as a wheel, packed from what runs here: a checkout, or an installation that has no source.

Equal files give equal bytes, so that a device that has them is not sent them again. The form is that of the Python packaging
guide's "Binary distribution format".
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib import metadata
from pathlib import Path

from deploy.errors import DeviceError

# Where the packages lie that run here.
ROOT = Path(__file__).resolve().parents[2]
CARRIED = ("deploy/**/*.py", "targets/*.py", "targets/*.toml")
# The first moment that a zip file can tell.
NO_TIME = (1980, 1, 1, 0, 0, 0)
WHEEL = "Wheel-Version: 1.0\nGenerator: thinwave\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
ENTRY_POINTS = "[console_scripts]\nthinwave-device = deploy.cli:main\n"


def pack_wheel(folder: Path) -> Path:
    """Write ``thinwave-VERSION-py3-none-any.whl`` into ``folder``; return its path.

    Raises DeviceError where thinwave's own metadata is not installed.
    """
    try:
        installed = metadata.distribution("thinwave")
    except metadata.PackageNotFoundError as error:
        raise DeviceError(
            "what a device needs cannot be packed: thinwave is not installed here; pip install . in its folder"
        ) from error
    told = installed.read_text("METADATA") or installed.read_text("PKG-INFO") or ""
    information = f"thinwave-{installed.version}.dist-info"
    carried = sorted(path for pattern in CARRIED for path in ROOT.glob(pattern))
    files = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in carried}
    files |= {
        f"{information}/METADATA": told.encode(),
        f"{information}/WHEEL": WHEEL.encode(),
        f"{information}/entry_points.txt": ENTRY_POINTS.encode(),
    }
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{information}/RECORD"] = f"{record}{information}/RECORD,,\n".encode()
    path = folder / f"thinwave-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, content)
    return path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
