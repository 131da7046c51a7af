"""What a runtime is here: a model opened, run, and closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from deploy.results import Precision

Float32 = npt.NDArray[np.float32]
Opened = TypeVar("Opened", bound="Runtime")


class Runtime(ABC):
    """A model in a runtime, open until :meth:`close` or the end of the ``with`` block.

    ``name`` and ``version`` are the runtime's own. One thread at a time uses it.
    """

    name: str
    version: str

    @abstractmethod
    def run(self, frames: Float32) -> Float32:
        """Return the logits (batch, classes) of ``frames`` (batch, 2, length), both float32 on the host.

        The result is complete on return, with work on a device waited for, and belongs to the caller: the next run
        does not overwrite it. ``frames`` is only read. Raises RuntimeRefusedError, with what was got and what was
        expected, for frames that the model does not take, and after :meth:`close`.
        """

    @property
    @abstractmethod
    def length(self) -> int | None:
        """The samples of a frame that the model takes; None where it takes frames of any length."""

    @property
    @abstractmethod
    def precision(self) -> Precision:
        """The precision that was executed, read back from the runtime, not what the file holds.

        The narrowest type that a convolution or matrix product ran in. Known from the first :meth:`run` on; raises
        RuntimeRefusedError before it. Reading it may take as long as opening the model: never in a timed stretch.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what the runtime holds; a second call does nothing."""

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
