"""What a runtime is here: a model opened, run, and closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from deploy.errors import RuntimeRefusedError
from deploy.names import Executed

Float32 = npt.NDArray[np.float32]
Opened = TypeVar("Opened", bound="Runtime")


@dataclass(frozen=True, kw_only=True)
class LayerTime:
    """What a runtime ran as one: its own ``name`` and kind for it, milliseconds, float64 (n,): of each run, or one mean.

    ``covers`` names the nodes of the ONNX file that were fused into it, as far as the runtime tells.
    """

    name: str
    op: str
    covers: tuple[str, ...]
    times_ms: npt.NDArray[np.float64]


class Runtime(ABC):
    """A model in a runtime, open until :meth:`close` or the end of the ``with`` block.

    ``name`` and ``version`` are the runtime's own. One thread at a time uses it.
    """

    name: str
    version: str

    def __init__(self, path: Path, expected: Sequence[int | None]) -> None:
        """``expected`` is the shape (batch, 2, length) of frames, None for any size.

        Raises RuntimeRefusedError where the second is not 2: the model takes no frames of I and Q.
        """
        if expected[1] not in (None, 2):
            raise RuntimeRefusedError(
                f"{path}: takes frames ({_in_words(expected)}); expected (batch, 2, length): I and Q, then time"
            )
        self.path = path
        self._expected = tuple(expected)
        self._accepted: tuple[int, ...] | None = None
        self._open = True

    @property
    def batch(self) -> int | None:
        """The frames that the model takes at once; None where it takes any number."""
        return self._expected[0]

    @property
    def length(self) -> int | None:
        """The samples of a frame that the model takes; None where it takes frames of any length."""
        return self._expected[-1]

    def run(self, frames: Float32) -> Float32:
        """Return the logits (batch, classes) of ``frames`` (batch, 2, length), both float32 on the host.

        The result is complete on return, with work on a device waited for, and belongs to the caller: the next run
        does not overwrite it. ``frames`` is only read. Raises RuntimeRefusedError, with what was got and what was
        expected, for frames that the model does not take, and after :meth:`close`.
        """
        # The full check is made once a shape: it would be a visible part of a run of 10 µs.
        if frames.shape != self._accepted or frames.dtype != np.float32:
            self._require(frames)
        logits = self._run(frames)
        self._accepted = frames.shape
        return logits

    @property
    def precision(self) -> Executed:
        """The precision that was executed, read back from the runtime, not what the file holds.

        The narrowest type that a convolution or matrix product ran in. Known from the first :meth:`run` on; raises
        RuntimeRefusedError before it. Reading it may take as long as opening the model: never in a timed stretch.
        """
        return self._executed(self._ran("the precision executed is"))

    def on_device(self, frames: Float32) -> Callable[[], object] | None:
        """A run of ``frames`` that are brought to the device beforehand, and whose logits stay there.

        It waits for the device as :meth:`run` does: what is left of that one's time is moving frames and logits. None where
        the device is the host, and there is nothing to move.
        """
        self._require(frames)
        return self._on_device(frames)

    def layer_times(self, frames: Float32, runs: int) -> list[LayerTime]:
        """What the runtime ran for ``frames``, in its order, each timed in ``runs`` runs of a copy that watches itself.

        Watching costs time: these milliseconds are larger than those of :meth:`run`, and are for comparing layers.
        """
        self._require(frames)
        return self._layer_times(frames, runs)

    def close(self) -> None:
        """Give back what the runtime holds; a second call does nothing."""
        self._open, self._accepted = False, None
        self._release()

    @abstractmethod
    def _run(self, frames: Float32) -> Float32:
        """Do :meth:`run` on frames that fit."""

    def _on_device(self, frames: Float32) -> Callable[[], object] | None:
        """Do :meth:`on_device` on frames that fit."""
        return None

    @abstractmethod
    def _executed(self, shape: tuple[int, ...]) -> Executed:
        """Do :attr:`precision` for frames of ``shape``."""

    @abstractmethod
    def _layer_times(self, frames: Float32, runs: int) -> list[LayerTime]:
        """Do :meth:`layer_times` on frames that fit."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of what was opened, also if that was done before."""

    def _ran(self, what: str) -> tuple[int, ...]:
        if self._accepted is None:
            raise RuntimeRefusedError(f"{self.path}: {what} known after the first run, and there was none")
        return self._accepted

    def _require(self, frames: Float32) -> None:
        if not self._open:
            raise RuntimeRefusedError(f"{self.path}: the model is closed")
        fits = frames.ndim == 3 and all(
            size is None or size == got for size, got in zip(self._expected, frames.shape, strict=True)
        )
        if not fits or frames.dtype != np.float32 or not frames.size:
            raise RuntimeRefusedError(
                f"{self.path}: got frames {frames.dtype} {frames.shape}, expected float32 "
                f"({_in_words(self._expected)}): batch, iq, length"
            )

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def narrowest(kinds: Iterable[Executed]) -> Executed:
    """The narrowest of the types that the layers which do a model's arithmetic ran in; fp32 where none is known."""
    seen = set(kinds)
    order: tuple[Executed, ...] = ("int8", "bf16", "fp16")
    return next((kind for kind in order if kind in seen), "fp32")


def _in_words(shape: Sequence[int | None]) -> str:
    return ", ".join(str(size or word) for size, word in zip(shape, ("batch", "any", "any"), strict=True))
