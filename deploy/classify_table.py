"""What a model answered to frames, for people and as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.table import Table

from deploy.classify import Answers
from deploy.frames.dataset import Dataset


def classify_table(title: str, answers: Answers) -> Table:
    """A row a class that was named, the most frequent first: frames, share, and how sure the model was on average."""
    table = Table("modulation", title=title, title_justify="left")
    for heading in ("frames", "share", "mean confidence"):
        table.add_column(heading, justify="right")
    counts = np.bincount(answers.predicted[answers.predicted >= 0], minlength=len(answers.classes))
    for number in np.argsort(-counts, kind="stable"):
        if counts[number]:
            sure = answers.confidence[answers.predicted == number].mean()
            share = counts[number] / len(answers.predicted)
            table.add_row(answers.classes[number], f"{counts[number]:,}", f"{share:.1%}", f"{sure:.1%}")
    if unknown := int((answers.predicted < 0).sum()):
        table.add_row("none: not finite", f"{unknown:,}", f"{unknown / len(answers.predicted):.1%}", "-")
    return table


def answers_to_json(frames: Dataset, answers: Answers) -> dict[str, Any]:
    """Every frame's class and confidence, in the order of the file."""
    return {
        "source": frames.source,
        "length": frames.length,
        "classes": list(answers.classes),
        "predicted": [None if number < 0 else answers.classes[number] for number in answers.predicted],
        "confidence": [round(float(each), 4) for each in answers.confidence],
        "correct": answers.correct,
    }
