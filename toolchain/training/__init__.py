"""One fit() for training and for fine-tuning, what it trains on, and what a model answers."""

from toolchain.training.answers import EVALUATION_BATCH, accuracy_of, logits_of, predictions_of
from toolchain.training.fitting import History, fit, one_cycle
from toolchain.training.hardware import ONE_DEVICE, Hardware, first_device, resolved
from toolchain.training.learner import FitSettings, rotated

__all__ = [
    "EVALUATION_BATCH",
    "ONE_DEVICE",
    "FitSettings",
    "Hardware",
    "History",
    "accuracy_of",
    "first_device",
    "fit",
    "logits_of",
    "one_cycle",
    "predictions_of",
    "resolved",
    "rotated",
]
