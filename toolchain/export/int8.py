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
from toolchain.export.onnx_file import INPUT

# What is quantised, where the weights are in the file.
QUANTISED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CALIBRATION_BATCH = 64
# Of a model with fewer of its layers in integers it is said.
FEW = 0.5

log = logging.getLogger(__name__)


def to_int8(
    source: Path,
    path: Path,
    frames: NDArray[np.float32],
    is_good: Callable[[Path], bool],
    *,
    progress: Progress = silent,
) -> tuple[str, ...]:
    """Write the fp32 model at ``source`` to ``path`` in int8, calibrated on ``frames`` (n, 2, length).

    Where ``is_good`` does not take the file with all layers quantised, some stay in fp32, and their names are returned: those
    whose quantisation alone moves the logits most. How many is found by halving, which ends at a number that is good beside
    one less that is not; with fewer still it may be good again, for accuracy does not rise with every layer.

    Raises ExportError where nothing can be quantised, or nothing that ``is_good`` takes.
    """
    names = quantisable(source)
    if not names:
        raise ExportError(
            f"{path.name}: has no layer that int8 is written for ({', '.join(QUANTISED)} with weights); leave int8 out"
        )

    def good(left: Sequence[str]) -> bool:
        quantise(source, path, frames, [name for name in names if name not in left])
        return is_good(path)

    if good(()):
        return ()
    order = _most_harmful_first(source, names, frames, progress)
    too_few, enough, last = 0, len(order), 0
    while enough - too_few > 1:
        last = (too_few + enough) // 2
        too_few, enough = (too_few, last) if good(order[:last]) else (last, enough)
    if enough == len(order):
        path.unlink(missing_ok=True)
        raise ExportError(f"{path.name}: no layer can be quantised without losing more accuracy; leave int8 out")
    left = order[:enough]
    if last != enough:
        quantise(source, path, frames, [name for name in names if name not in left])
    if len(left) > FEW * len(names):
        log.warning("%s: %d of %d layers stay in fp32 for the sake of accuracy", path.name, len(left), len(names))
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
            starts = range(0, len(frames), CALIBRATION_BATCH)
            self._batches = iter([{INPUT: frames[at : at + CALIBRATION_BATCH]} for at in starts])

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
    # Spread over all of them: they are sorted by class.
    few = frames[:: -(-len(frames) // CALIBRATION_BATCH)]
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        one = Path(folder) / "one.onnx"
        for number, name in enumerate(names):
            progress(number, len(names), "int8: which layers cost accuracy")
            quantise(source, one, few, [name])
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
