"""TensorRT 10.3 and later on an NVIDIA GPU, through Polygraphy, by one route: strongly typed.

Every tensor has the type that the ONNX file says, decided at export, so the same code serves TensorRT 10 and 11. TensorRT-RTX
has the same interface; what differs is said in :data:`FLAVOURS`. It also builds engines where no GPU is.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.batches import AT_ONCE
from deploy.bundle import sha256_of
from deploy.engines import Engine, Fingerprint, engine_for
from deploy.errors import RuntimeNotFoundError, RuntimeRefusedError, first_line
from deploy.gpu import Gpu, first_gpu
from deploy.host import machine
from deploy.names import Executed, Precision
from deploy.runtimes import RUNTIMES
from deploy.runtimes.base import Float32, LayerTime, Runtime, narrowest

WARM_UP_RUNS = 20
# How the inspector writes the types that are narrower than float.
TYPES: dict[str, Executed] = {"Int8": "int8", "BFloat16": "bf16", "BF16": "bf16", "FP16": "fp16", "Half": "fp16"}
# What the kinds of layers that do a model's arithmetic have in them: CaskConvolution, correlation, gemm, MatrixMultiply.
COMPUTING = re.compile(r"conv|correlation|gemm|matmul|matrix|fullyconnected", re.IGNORECASE)
# Kinds of what TensorRT's compiler fused from any operators. Their own names and tactics tell which: __myl_MulSum (its matrix
# product for one row), __myl_FcAdd, sm80_xmma_gemm, conv1/Conv_myl0_3. "Fc" as it is written: tactics end in hexadecimals.
FUSED = ("kgen", "fusion", "Myelin")
FUSED_COMPUTING = re.compile(r"Fc|MulSum|(?i:conv|correlation|gemm|matmul|rnn|lstm|gru)")
# Bears the name of the convolution that it is for: conv1/Conv_output_0_QuantizeLinear.
QUANTISING = re.compile(r"quanti[sz]e", re.IGNORECASE)
# Kinds of the inspector's layers that move data and compute nothing.
MOVING = ("Reformat", "NoOp", "Shuffle", "Constant", "Cast")


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """A TensorRT: its name here, its module, the least version, and whether its engines are finished where they are opened."""

    name: str
    modules: tuple[str, ...]
    least: tuple[int, int]
    is_rtx: bool


FLAVOURS = {
    "tensorrt": Flavour(
        name="tensorrt",
        modules=("tensorrt",),
        least=(10, 3),
        is_rtx=False,
    ),
    "tensorrt-rtx": Flavour(
        name="tensorrt-rtx",
        # The bindings' wheel has a name of its own; that of the others is a package which imports it.
        modules=("tensorrt_rtx", "tensorrt_rtx_bindings"),
        least=(1, 0),
        is_rtx=True,
    ),
}


class TensorRt(Runtime):
    """An ONNX model as an engine on the first GPU, for batches of 1 to 64, frames and logits on the host."""

    def __init__(
        self, path: Path, *, flavour: str = "tensorrt", batch: int | None = None, precision: Precision | None = None
    ) -> None:
        """Open the engine of the ONNX file at ``path``, built for this GPU where there is none, and tuned for ``batch``.

        Raises RuntimeNotFoundError where there is no GPU or no TensorRT, RuntimeRefusedError where it refuses the model, and
        where the engine does not compute in the ``precision`` that the file was written in, as :func:`require_precision`.
        """
        self.name = flavour
        version_here(flavour)
        self._trt, self._polygraphy = _imported(FLAVOURS[flavour])
        self.version = self._trt.__version__
        engine = _engine_of(path, flavour=flavour, batch=batch)
        with _refusals(path, flavour):
            self._engine = self._polygraphy.EngineFromBytes(engine.content)()
            self._layers = _inspected(self._trt, self._engine)
        kinds = computing_types(self._layers)
        require_precision(path, precision, kinds, maker=f"{flavour} {self.version}")
        self._precision = narrowest(kinds)
        self._input, shape = _input_of(self._trt, self._engine)
        super().__init__(path, [None, *shape[1:]])
        self._runner = self._polygraphy.TrtRunner(self._engine)
        self._runner.activate()

    def _run(self, frames: Float32) -> Float32:
        if len(frames) > AT_ONCE:
            raise RuntimeRefusedError(f"{self.path}: got a batch of {len(frames)}, and engines take at most {AT_ONCE}")
        with _refusals(self.path, self.name):
            # It waits for the GPU; the arrays are the runner's, and written over by the next run.
            (logits,) = self._runner.infer({self._input: frames}, check_inputs=False).values()
        return np.array(logits, dtype=np.float32)

    def _on_device(self, frames: Float32) -> Callable[[], object]:
        # It keeps the address of the host's frames out of the engine, and waits for the GPU too.
        device_array = importlib.import_module("polygraphy.cuda").DeviceArray(shape=frames.shape, dtype=frames.dtype)
        device_array.copy_from(np.ascontiguousarray(frames))
        feed = {self._input: device_array}
        return lambda: self._runner.infer(feed, check_inputs=False, copy_outputs_to_host=False)

    def _executed(self, shape: tuple[int, ...]) -> Executed:
        return self._precision

    def _layer_times(self, frames: Float32, runs: int) -> list[LayerTime]:
        times: dict[str, list[float]] = {}

        class Profiler(self._trt.IProfiler):  # type: ignore[misc, name-defined]
            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times.setdefault(layer_name, []).append(ms)

        with self._polygraphy.TrtRunner(self._engine) as runner:
            for _ in range(WARM_UP_RUNS):
                runner.infer({self._input: frames})
            runner.context.profiler = Profiler()
            for _ in range(runs):
                runner.infer({self._input: frames})
        kinds = {str(layer.get("Name")): layer for layer in self._layers}
        return [
            LayerTime(
                name=name,
                op=str(kinds.get(name, {}).get("LayerType", "")),
                covers=covered(kinds.get(name, {"Name": name})),
                times_ms=np.array(values),
            )
            for name, values in times.items()
        ]

    def _release(self) -> None:
        if getattr(self, "_runner", None) is not None:
            self._runner.deactivate()
        self._runner = self._engine = None


def open_model(name: str, path: Path, *, threads: int, batch: int | None, precision: Precision | None) -> TensorRt:
    """Open the model in the runtime called ``name``; on a GPU there are no ``threads`` to choose."""
    return TensorRt(path, flavour=name, batch=batch, precision=precision)


def build_engine(path: Path, *, flavour: str = "tensorrt", batch: int | None = None) -> Path:
    """The file of the engine of the ONNX file at ``path`` for this machine, built where it is not there already.

    For TensorRT-RTX no GPU is needed: its engines are finished on whichever GPU opens them.

    Raises RuntimeNotFoundError where there is no TensorRT, or no GPU and it needs one, RuntimeRefusedError where it refuses
    the model, BundleError where the engine cannot be written.
    """
    return _engine_of(path, flavour=flavour, batch=batch).path


def _engine_of(path: Path, *, flavour: str, batch: int | None) -> Engine:
    """Do :func:`build_engine`, and return what was built with its file."""
    kind = FLAVOURS[flavour]
    trt, polygraphy = _imported(kind)
    gpu = first_gpu()
    if isinstance(gpu, str) and not kind.is_rtx:
        raise RuntimeNotFoundError(f"{flavour} builds on the GPU that it builds for: {gpu}; build on the device")
    batches = (1, min(batch or 1, AT_ONCE), AT_ONCE)
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise RuntimeRefusedError(f"{path}: cannot be read: {error.strerror}") from error
    fingerprint = Fingerprint(
        runtime=flavour,
        version=trt.__version__,
        platform=f"linux-{machine()}",
        gpu="any" if kind.is_rtx or isinstance(gpu, str) else _named(gpu),
        onnx_sha256=digest,
        batches=batches,
    )

    def build(timing_cache: Path) -> bytes:
        with _refusals(path, flavour), warnings.catch_warnings():
            # Of Polygraphy's calls to what TensorRT is about to drop.
            warnings.simplefilter("ignore", DeprecationWarning)
            network = polygraphy.network_from_onnx_path(str(path), strongly_typed=True)
            _, parsed, *_ = network
            # Of a file that is no ONNX, TensorRT-RTX's parser says nothing and makes an empty network.
            if parsed.num_inputs != 1:
                raise RuntimeRefusedError(f"{path}: {flavour} finds no ONNX model of one input in this file")
            name, shape = parsed.get_input(0).name, tuple(parsed.get_input(0).shape)
            _require_batches(path, shape)
            profile = polygraphy.Profile().add(name, *((size, *shape[1:]) for size in batches))
            # TensorRT-RTX times nothing while it builds.
            cache = {} if kind.is_rtx else {"load_timing_cache": str(timing_cache) if timing_cache.is_file() else None}
            config = polygraphy.CreateConfig(
                profiles=[profile], profiling_verbosity=trt.ProfilingVerbosity.DETAILED, **cache
            )
            save = {} if kind.is_rtx else {"save_timing_cache": str(timing_cache)}
            return bytes(polygraphy.engine_bytes_from_network(network, config=config, **save))

    return engine_for(path, fingerprint, build)


def version_here(name: str) -> str:
    """The version; raises RuntimeNotFoundError where it is not installed or too old, and where there is no GPU to run on."""
    version = str(_tensorrt(FLAVOURS[name]).__version__)
    gpu = first_gpu()
    if isinstance(gpu, str):
        raise RuntimeNotFoundError(
            f"{name} {version} runs on an NVIDIA GPU: {gpu}; `build` needs none with tensorrt-rtx"
        )
    return version


def computing_types(layers: list[dict[str, Any]]) -> list[Executed]:
    """For each layer of the inspector's that convolves or multiplies matrices, the narrowest type that it reads.

    Only these tell the precision: a layer that makes floats of integers reads integers too. What a layer is, its kind says;
    of what the compiler fused, its own name and tactic, as far as they do.
    """
    return [_type_read(layer) for layer in layers if _computes(layer)]


def require_precision(path: Path, precision: Precision | None, kinds: list[Executed], *, maker: str) -> None:
    """Raise RuntimeRefusedError where an engine's computing layers, of ``kinds``, do not run in its file's ``precision``.

    A silent fall-back to a wider type would be measured under the narrower one's name. Of an fp16 file at least half of them
    have to run in fp16: it holds every convolution and product in fp16, but what the compiler fuses may read something wider.
    Of an int8 file one has to, and no more can be asked: layers that cost accuracy were left in float when it was written.
    Where the inspector names no computing layer, nothing was verified, and a narrower file is refused.
    """
    if precision is None or precision == "fp32":
        return
    if not kinds:
        raise RuntimeRefusedError(
            f"{path}: the file is {precision}, and {maker} names no convolution or matrix product of its engine, so that "
            "what it computes in was not verified; take the fp32 file"
        )
    narrow, least = kinds.count(precision), (len(kinds) / 2 if precision == "fp16" else 1)
    if narrow < least:
        raise RuntimeRefusedError(
            f"{path}: the file is {precision}, and {maker} made an engine of it in which {narrow} of {len(kinds)} "
            f"convolutions and matrix products compute in {precision}; take the fp32 file"
        )


def _computes(layer: dict[str, Any]) -> bool:
    kind = str(layer.get("LayerType"))
    if kind not in FUSED:
        return bool(COMPUTING.search(kind))
    names = [*str(layer.get("Name", "")).split(" + "), str(layer.get("TacticName", ""))]
    # The last of a path alone: what is in a module called conv need not be a convolution.
    ends = [name.rpartition("/")[2] for name in names]
    return any(FUSED_COMPUTING.search(end) and not QUANTISING.search(end) for end in ends)


def _type_read(layer: dict[str, Any]) -> Executed:
    words = [str(each.get("Format/Datatype") or each.get("Datatype") or "") for each in layer.get("Inputs", ())]
    return narrowest(kind for word, kind in TYPES.items() if any(word in each for each in words))


def covered(layer: dict[str, Any]) -> tuple[str, ...]:
    """The ONNX nodes that a layer of the inspector's was made of: from its metadata, else from its name."""
    if str(layer.get("LayerType")) in MOVING or str(layer["Name"]).startswith("Reformatting"):
        return ()
    noted = str(layer.get("Metadata", ""))
    found = [part.split("]")[0].strip() for part in noted.split("[ONNX Layer:")[1:]]
    return tuple(found) or tuple(part.strip() for part in str(layer["Name"]).split(" + "))


def _require_batches(path: Path, shape: tuple[int, ...]) -> None:
    """Raise RuntimeRefusedError unless a model takes frames of I and Q of one length in any batch, which TensorRT calls -1."""
    if len(shape) != 3 or shape[:2] != (-1, 2) or shape[2] == -1:
        words = ", ".join("any" if size == -1 else str(size) for size in shape)
        raise RuntimeRefusedError(
            f"{path}: takes frames ({words}); expected any batch of frames of one length (any, 2, length); export it so"
        )


def _inspected(trt: Any, engine: Any) -> list[dict[str, Any]]:
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return [layer for layer in json.loads(text).get("Layers", ()) if isinstance(layer, dict)]


def _input_of(trt: Any, engine: Any) -> tuple[str, tuple[int, ...]]:
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    (name,) = [each for each in names if engine.get_tensor_mode(each) == trt.TensorIOMode.INPUT]
    return name, tuple(engine.get_tensor_shape(name))


def _named(gpu: Gpu) -> str:
    return f"{gpu.name}, compute capability {gpu.compute_capability[0]}.{gpu.compute_capability[1]}"


def _imported(flavour: Flavour) -> tuple[Any, Any]:
    """TensorRT and Polygraphy's part for it; raises RuntimeNotFoundError as :func:`_tensorrt`."""
    trt = _tensorrt(flavour)
    # Polygraphy looks for this module, and is told by the environment which of the two it serves, once, when it is imported.
    sys.modules.setdefault(flavour.modules[0], trt)
    os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1" if flavour.is_rtx else "0"
    logger = importlib.import_module("polygraphy.logger").G_LOGGER
    # Above its highest: what it would print on the way to an exception is in that exception.
    logger.module_severity = logger.CRITICAL + 1
    if flavour.is_rtx != importlib.import_module("polygraphy.config").USE_TENSORRT_RTX:
        raise RuntimeNotFoundError(
            f"{flavour.name}: in this process Polygraphy was imported for the other TensorRT; take a fresh one"
        )
    return trt, importlib.import_module("polygraphy.backend.trt")


def _tensorrt(flavour: Flavour) -> Any:
    """TensorRT's own module; raises RuntimeNotFoundError where it is missing or too old."""
    try:
        if importlib.util.find_spec("polygraphy") is None:
            raise ModuleNotFoundError("No module named 'polygraphy'")
        trt = _first_of(flavour.modules)
    except (ImportError, OSError) as error:
        raise RuntimeNotFoundError(
            f"{flavour.name} cannot be imported ({error}); install it: {RUNTIMES[flavour.name].install}"
        ) from error
    if tuple(int(part) for part in trt.__version__.split(".")[:2]) < flavour.least:
        raise RuntimeNotFoundError(
            f"{flavour.name} {trt.__version__} is too old; expected {'.'.join(map(str, flavour.least))} or newer: "
            f"{RUNTIMES[flavour.name].install}. On JetPack 4 and 5, which have no newer one, use trtexec"
        )
    return trt


def _first_of(modules: tuple[str, ...]) -> Any:
    for name in modules[:-1]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    return importlib.import_module(modules[-1])


@contextmanager
def _refusals(path: Path, flavour: str) -> Iterator[None]:
    """Say what Polygraphy raises in our words."""
    exceptions = importlib.import_module("polygraphy.exception")
    try:
        yield
    except exceptions.PolygraphyException as error:
        reason = first_line(error)
        raise RuntimeRefusedError(f"{path}: {flavour} refuses the model: {reason}") from error
