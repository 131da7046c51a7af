"""What can go wrong on the workstation, as one tree.

ToolchainError
├── RecipeError      a recipe or a --set that cannot be meant
├── ModelError       a model file or an architecture that does not fit
├── PlanError        a pruning that cannot be made as asked
│   └── NoRoomError  a budget that no plan meets
├── TrainingError    a training that went wrong (the loss became NaN)
├── EstimateError    a latency that nothing is known to estimate from
├── ExportError      an ONNX file that does not compute what the model computes
└── RunError         an output folder that cannot be used

:class:`deploy.errors.DatasetError`, a file of frames that cannot be used, is the device's and is named here too.

Each message says what was asked, what was found, what was expected, and the way out. The command line prints it and
ends with exit code 2; a traceback is for our mistakes only.
"""

from __future__ import annotations

from deploy.errors import DatasetError

__all__ = [
    "DatasetError",
    "EstimateError",
    "ExportError",
    "ModelError",
    "NoRoomError",
    "PlanError",
    "RecipeError",
    "RunError",
    "ToolchainError",
    "TrainingError",
]


class ToolchainError(Exception):
    """The root of the errors that a user can mend."""


class RecipeError(ToolchainError):
    """A recipe, or a ``--set``, that cannot be meant."""


class ModelError(ToolchainError):
    """A model file or an architecture that does not fit."""


class PlanError(ToolchainError):
    """A pruning that cannot be made as asked."""


class NoRoomError(PlanError):
    """A budget that no plan meets; ``most`` is the largest cut of MACs or parameters that one does, where that is known."""

    def __init__(self, message: str, most: float | None = None) -> None:
        super().__init__(message)
        self.most = most


class TrainingError(ToolchainError):
    """A training that went wrong."""


class ExportError(ToolchainError):
    """An ONNX file that does not compute what the model computes."""


class EstimateError(ToolchainError):
    """A latency that nothing is known to estimate from."""


class RunError(ToolchainError):
    """An output folder that cannot be used."""
