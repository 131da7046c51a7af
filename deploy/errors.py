"""What can go wrong on the device, as one tree.

DeployError
├── BundleError           a bundle that is missing, damaged, or of another schema
├── TargetError           a target profile that cannot be read, or is not this machine
├── RuntimeNotFoundError  a runtime that is not installed here
├── RuntimeRefusedError   a runtime that refused a model or an input
├── MeasurementError      a measurement that could not be made
├── DeviceError           another machine that cannot be reached, or cannot do what is asked
└── DatasetError          a file of frames that is missing, damaged, of another format, or unfit for the job

Each message says what was asked, what was found, what was expected, and the way out. The command line prints it and
ends with exit code 2; a traceback is for our mistakes only.
"""

from __future__ import annotations


class DeployError(Exception):
    """The root of the errors that a user can mend."""


class BundleError(DeployError):
    """A bundle that is missing, damaged, or of another schema."""


class TargetError(DeployError):
    """A target profile that cannot be read, or is not this machine."""


class RuntimeNotFoundError(DeployError):
    """A runtime that is not installed here."""


class RuntimeRefusedError(DeployError):
    """A runtime that refused a model or an input."""


class MeasurementError(DeployError):
    """A measurement that could not be made."""


class DeviceError(DeployError):
    """Another machine that cannot be reached, or cannot do what is asked."""


class DatasetError(DeployError):
    """A file of frames that is missing, damaged, of another format, or unfit for the job."""


def first_line(error: BaseException) -> str:
    """What somebody else's ``error`` says first; its name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
