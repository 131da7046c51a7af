"""Where a device is: ``ssh://user@host:port/folder``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from deploy.errors import DeviceError

# In the home of the user over there.
CACHE = ".cache"
# thinwave's own, in the folder that is named: what else lies there is the user's.
OWN = "thinwave"
# scp of some versions lets a shell read the path on the other side.
SAFE_PATH = re.compile(r"[A-Za-z0-9._/+-]+")
EXPECTED = "expected ssh://[user@]host[:port][/folder], or ssh://alias of your ssh configuration"


@dataclass(frozen=True, kw_only=True)
class Device:
    """A machine that ssh reaches: what is None is left to the user's ssh configuration.

    ``folder`` is thinwave's own, in the one that the address names; without a slash in front it is in the home of the user.
    """

    address: str
    host: str
    user: str | None = None
    port: int | None = None
    folder: str = f"{CACHE}/{OWN}"

    @property
    def login(self) -> str:
        """What ssh and scp are called with."""
        return self.host if self.user is None else f"{self.user}@{self.host}"

    @property
    def scp_login(self) -> str:
        """The same, where a colon follows that ends it: an IPv6 address is in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.user is None else f"{self.user}@{host}"


def parse_device(address: str) -> Device:
    """Read an address; raises DeviceError where it is none, or holds a password."""

    def refuse(why: str) -> DeviceError:
        return DeviceError(f"{address}: {why}; {EXPECTED}")

    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise refuse(f"is no address of a device: {error}") from error
    if parts.scheme != "ssh" or not parts.hostname:
        raise refuse("is no address of a device")
    if parts.password is not None:
        # Not with the address, which holds it.
        raise DeviceError(f"an address of a device holds no password: give {parts.hostname} a key with ssh-copy-id")
    if parts.query or parts.fragment:
        raise refuse("has something behind the folder")
    # In the way it was written: hostname is in lower case, and an alias may not be.
    host = parts.netloc.rpartition("@")[2]
    host = host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]
    for part in (host, parts.username or "x"):
        # One that begins with a dash would be an option of ssh's.
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:%-]*", part):
            raise refuse(f'"{part}" is no name of a user or host')
    if port == 0:
        raise refuse("has no port that can be connected to")
    folder = parts.path.rstrip("/") or CACHE
    if not SAFE_PATH.fullmatch(folder) or ".." in folder.split("/"):
        raise refuse(f'the folder "{folder}" may hold letters, digits and . _ + - only')
    return Device(address=address, host=host, user=parts.username, port=port, folder=f"{folder}/{OWN}")
