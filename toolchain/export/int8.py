"""From an fp32 ONNX file to one in int8: static quantisation, written as QuantizeLinear and DequantizeLinear nodes.

As TensorRT demands it, which is also what the other runtimes read: activations and weights are symmetric int8, weights by
output channel, and biases stay float.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from deploy.progress import Progress, silent
from deploy.runtimes import open_runtime
from toolchain.errors import ExportError

# What is quantised, where the weights are in the file.
QUANTISED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CALIBRATION_BATCH = 64
# An accuracy on n frames moves in steps of 1/n; half a step is rounding.
ROUNDING = 1e-9

# From a file to the accuracy of the model in it, a share of the frames that choices are judged by.
Judge = Callable[[Path], float]


def to_int8(
    source: Path,
    path: Path,
    frames: NDArray[np.float32],
    judge: Judge,
    *,
    most_drop: float = 0.005,
    progress: Progress = silent,
) -> tuple[str, ...]:
    """Write the fp32 model at ``source`` to ``path`` in int8, calibrated on ``frames`` (n, 2, length).

    As few layers as needed stay in fp32 for the accuracy to be at most ``most_drop`` below that of ``source``; their names
    are returned. They are those whose quantisation alone moves the logits most.

    Raises ExportError where nothing can be quantised, or not within ``most_drop``.
    """
    names = quantisable(source)
    if not names:
        raise ExportError(f"{source}: has no layer that int8 is written for ({', '.join(QUANTISED)} with weights)")
    least = judge(source) - most_drop - ROUNDING

    def good(left: Sequence[str]) -> bool:
        quantise(source, path, frames, [name for name in names if name not in left])
        return judge(path) >= least

    if good(()):
        return ()
    order = _most_harmful_first(source, names, frames, progress)
    # The fewest that have to stay, by halving: each layer more that stays float brings the logits nearer.
    too_few, enough = 0, len(order)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if good(order[:middle]) else (middle, enough)
    if enough == len(order):
        path.unlink(missing_ok=True)
        raise ExportError(
            f"{source}: no layer can be quantised within {100 * most_drop:g} points of accuracy; leave int8 out"
        )
    left = order[:enough]
    good(left)
    return tuple(name for name in names if name in left)


def quantisable(source: Path) -> list[str]:
    """The names of the nodes that int8 is written for, in the order in which they run."""
    graph = onnx.load(source).graph
    constants = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type in QUANTISED and node.input[1] in constants]


def quantise(source: Path, path: Path, frames: NDArray[np.float32], nodes: Sequence[str]) -> None:
    """Write ``source`` to ``path`` with ``nodes`` (names) in int8; equal models and frames give equal bytes."""
    # Here, because it takes a second to import.
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Frames(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            name = onnx.load(source).graph.input[0].name
            starts = range(0, len(frames), CALIBRATION_BATCH)
            self._batches = iter([{name: frames[at : at + CALIBRATION_BATCH]} for at in starts])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self._batches, None)

    with _quiet():
        quantize_static(
            source,
            path,
            Frames(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_quantize=list(nodes),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                # As int32, which ONNX Runtime would make of them, TensorRT's parser refuses them.
                "QuantizeBias": False,
                "MatMulConstBOnly": True,
            },
        )
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _most_harmful_first(
    source: Path, names: Sequence[str], frames: NDArray[np.float32], progress: Progress
) -> list[str]:
    """The layers by how far the logits move when each alone is quantised."""
    expected = _logits(source, frames)
    moved = {}
    with tempfile.TemporaryDirectory(prefix="thinwave-") as folder:
        one = Path(folder) / "one.onnx"
        for number, name in enumerate(names):
            progress(number, len(names), "int8: which layers cost accuracy")
            quantise(source, one, frames[:CALIBRATION_BATCH], [name])
            moved[name] = float(np.square(_logits(one, frames) - expected).mean())
    return sorted(names, key=lambda name: -moved[name])


def _logits(path: Path, frames: NDArray[np.float32]) -> NDArray[np.float32]:
    with open_runtime("onnxruntime", path) as runtime:
        return runtime.run(frames)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice, which goes to the root logger, off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
