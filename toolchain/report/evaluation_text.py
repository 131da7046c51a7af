"""What the terminal shows of an evaluation: the figures, accuracy by SNR, and what is taken for what."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from toolchain.evaluation import Evaluation

_MOST_CONFUSIONS = 5
_BAR_WIDTH = 30
_PARTS = {
    "test": "the test split, which the training never saw",
    "validation": "the validation split, by which the training chose its epoch",
    "train": "the training split",
    "own test": "the test part that the file itself keeps",
    "all": "all its frames, also those that the model may have been trained on",
}


def show_evaluation(console: Console, evaluation: Evaluation, *, source: str) -> None:
    """Print an evaluation on ``source`` to ``console``."""
    frames = "frame" if evaluation.frames == 1 else "frames"
    console.print(f"{evaluation.frames:,} {frames} of {source}: {_PARTS[evaluation.part]}", soft_wrap=True)
    low, high = evaluation.accuracy_interval
    console.print(
        f"accuracy     {evaluation.accuracy:.2%}   95 % interval by the number of frames {low:.2%} to {high:.2%}"
    )
    console.print(f"sensitivity  {_sensitivity(evaluation)}", soft_wrap=True)
    table = Table("SNR, dB", "accuracy", "", show_edge=False, pad_edge=False)
    table.columns[0].justify = table.columns[1].justify = "right"
    for snr, share in evaluation.by_snr.items():
        table.add_row(snr, f"{share:.1%}", "━" * round(_BAR_WIDTH * share))
    console.print()
    console.print(table)
    console.print()
    for sentence in confusions_in_words(evaluation):
        console.print(sentence)


def confusions_in_words(evaluation: Evaluation) -> list[str]:
    """Name the classes that are most often taken for another: the share of the true class's frames."""
    counts = evaluation.confusion.astype(float)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    np.fill_diagonal(shares, 0)
    worst = np.argsort(shares, axis=None, kind="stable")[::-1][:_MOST_CONFUSIONS]
    sentences = []
    for true, named in zip(*np.unravel_index(worst, shares.shape), strict=True):
        if shares[true, named] > 0:
            classes = evaluation.classes
            sentences.append(f"{classes[true]} is taken for {classes[named]}: {shares[true, named]:.1%} of its frames")
    return sentences


def _sensitivity(evaluation: Evaluation) -> str:
    if evaluation.sensitivity_db is not None:
        return f"{evaluation.sensitivity_db:.2f} dB, where the accuracy crosses {evaluation.level:.0%}"
    asked = f"{evaluation.level:.0%} is asked for"
    curve = sorted((float(snr), share) for snr, share in evaluation.by_snr.items())
    lowest = min(share for _, share in curve)
    if lowest >= evaluation.level:
        return f"below the lowest SNR: at least {_beside(lowest, evaluation.level)} everywhere; {asked}"
    best_db, best = max(curve, key=lambda point: point[1])
    if best < evaluation.level:
        return f"not reached: at most {_beside(best, evaluation.level)} (at {best_db:g} dB); {asked}"
    last_db, last = curve[-1]
    there = f"{_beside(last, evaluation.level)} at {last_db:g} dB, the highest SNR"
    return f"not held: {_beside(best, evaluation.level)} at {best_db:g} dB, but {there}; {asked}"


def _beside(share: float, level: float) -> str:
    """Write a share so that it does not look like the level that it misses."""
    text = f"{share:.0%}"
    return text if text != f"{level:.0%}" else f"{share:.1%}"
