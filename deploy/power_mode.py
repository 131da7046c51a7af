"""The power mode of a Jetson, by its name: numbers differ by board and release. Set by NVIDIA's ``nvpmodel``."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.errors import TargetError, first_line
from deploy.kernel_files import ROOT
from deploy.machine_state import machine_state, power_modes
from deploy.suggestion import did_you_mean

log = logging.getLogger(__name__)

MOST_SECONDS = 60.0


@contextmanager
def in_power_mode(name: str | None, root: Path = ROOT) -> Iterator[None]:
    """Let the block run in a power mode, and set the one that was there again; None leaves it as it is.

    Raises TargetError where the machine has no such mode, or it cannot be set without a password or a restart, and where it
    does not say in which it is: what was there could not be set again. That it cannot be set again is a warning.
    """
    if name is None:
        yield
        return
    modes, before = power_modes(root), machine_state(root)["power_mode"]
    if not modes:
        raise TargetError(f"power mode {name}: this machine has none (no /etc/nvpmodel.conf); leave out --power-mode")
    if name not in modes:
        raise TargetError(
            f'no power mode is named "{name}"{did_you_mean(name, modes)}; this machine has: {", ".join(modes)}'
        )
    if not isinstance(before, str) or before not in modes:
        raise TargetError(
            f"power mode {name}: this machine does not say in which mode it is, so that could not be set again; set the mode "
            "by hand, and leave out --power-mode"
        )
    if before == name:
        yield
        return
    try:
        _set(name, modes[name], root)
        yield
    finally:
        # It may never have been left.
        if machine_state(root)["power_mode"] != before:
            try:
                _set(before, modes[before], root)
            except TargetError as error:
                log.warning("the former power mode was not set again: %s", error)


def _set(name: str, number: int, root: Path) -> None:
    tool = shutil.which("nvpmodel", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if tool is None:
        raise TargetError(f"power mode {name}: nvpmodel is not installed on this machine")
    command = [tool, "-m", str(number)] if os.geteuid() == 0 else ["sudo", "-n", tool, "-m", str(number)]
    # Some modes need a restart, and nvpmodel asks for it.
    try:
        said = subprocess.run(command, input="no\n", capture_output=True, text=True, check=False, timeout=MOST_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"power mode {name}: cannot be set: {first_line(error)}") from error
    now = machine_state(root)["power_mode"]
    if said.returncode or now != name:
        told = (said.stderr or said.stdout).strip().splitlines()
        raise TargetError(
            f"power mode {name}: could not be set ({told[-1] if told else f'it is {now}'}); set it by hand and try again: "
            f"sudo nvpmodel -m {number}"
        )
