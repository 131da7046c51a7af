"""What a model's units put out, on real frames, looked at while the model runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from glob import escape

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolchain.dataflow import Dataflow, dataflow, follow
from toolchain.errors import PlanError
from toolchain.pruning.units import Unit, spans_of


def watch_outputs(
    model: nn.Module, frames: NDArray[np.float32], units: Sequence[Unit], keep: Callable[[int, Tensor], None]
) -> None:
    """Run ``model`` on ``frames`` (batch, 2, length); give ``keep`` each unit's number and output (batch, ...) as it comes.

    Raises PlanError for units of another model, and where an output does not tell the frames apart.
    """
    count = len(frames)
    # Other than ``count``, so that the dimension that grows with it is known.
    seen = 3 if count == 2 else 2
    flow = dataflow(model, torch.tensor(np.resize(frames, (seen, *frames.shape[1:]))))
    values = _outputs(model, flow, units)

    def kept(index: int, output: Tensor) -> None:
        keep(index, _by_frame(output, flow.shapes[values[index]], seen, count))

    follow(model, torch.tensor(frames), flow, {value: partial(kept, index) for index, value in enumerate(values)})


def _by_frame(output: Tensor, seen_shape: Sequence[int], seen: int, count: int) -> Tensor:
    """``output`` as (count, ...), by the dimension that grew with the batch from ``seen`` to ``count`` frames.

    Raises PlanError where none did: the frames are no longer apart.
    """
    for dimension, (before, now) in enumerate(zip(seen_shape, output.shape, strict=True)):
        if before % seen == 0 and now == before // seen * count and now != before:
            # Several rows a frame (segments, say) lie together.
            first = output.movedim(dimension, 0)
            return first if now == count else first.reshape(count, -1)
    raise PlanError(
        f"the output of a unit has shape {tuple(output.shape)} for {count} frames; expected a part for each"
    )


def _outputs(model: nn.Module, flow: Dataflow, units: Sequence[Unit]) -> list[int]:
    """The values that ``units`` put out; of one that runs several times, one after another."""
    spans = spans_of(model, flow)
    if not all(any(span.name == unit.name for span in spans) for unit in units):
        # They were named by a glob.
        spans = spans_of(model, flow, [escape(unit.name) for unit in units])
    after: dict[str, list[int]] = {}
    for span in spans:
        after.setdefault(span.name, []).append(span.after)
    missing = [unit.name for unit in units if not after.get(unit.name)]
    if missing:
        raise PlanError(f"{', '.join(missing[:3])}: no units of this model; find its own with find_units")
    return [after[unit.name].pop(0) if len(after[unit.name]) > 1 else after[unit.name][0] for unit in units]
