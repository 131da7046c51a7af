"""A bundle: the folder that travels to the device, with ``manifest.json`` and the files that it names.

Every file is named with its size and SHA-256, and the manifest with a hash of itself. A bundle is opened only when all of
them hold: a flipped byte, a file cut short on its way, or a path that leads out of the folder is found before a runtime
reads it. This finds damage and mistakes; whoever can write the folder can also write the hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, JsonValue, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, StringConstraints

from deploy.errors import BundleError
from deploy.names import Executed, Precision
from deploy.regular_file import FILE, FOLDER, kind_of, read_whole
from deploy.strict_reading import Strict, read_strictly

MANIFEST_NAME = "manifest.json"
# That of a model of thousands of layers has a few MiB; parsed, it takes several times that.
MOST_MANIFEST_BYTES = 64 << 20
Schema = Literal[1]
(SCHEMA,) = get_args(Schema)
SHOWN_OF_A_SCHEMA = 60

Text = Annotated[str, StringConstraints(min_length=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# What stands for the manifest's hash of itself while that is computed.
NO_HASH = "0" * 64


class InputFormat(Strict):
    """What the model takes: frames of ``shape`` (2, length), float32; how they are scaled is said in words."""

    shape: tuple[Literal[2], PositiveInt]
    layout: Literal["batch, iq, length"] = "batch, iq, length"
    dtype: Literal["float32"] = "float32"
    sample_rate_hz: PositiveFloat | None = None
    scaling: Text


class Parity(Strict):
    """How near a file is to the model that it came from, seen at export on ``frames`` frames.

    ``max_abs_diff`` is the largest difference of logits, ``agreement`` the share of frames that get the same class,
    ``accuracy`` the share that the file names rightly. ``executed`` is what the runtime computed in then, null where that
    was not said.
    """

    frames: PositiveInt
    max_abs_diff: NonNegativeFloat
    agreement: Share
    accuracy: Share
    executed: Executed | None = None


class Accuracy(Strict):
    """What :mod:`deploy.accuracy` found on the test split: shares from 0 to 1, ``by_snr`` keyed by decibels as text."""

    overall: Share
    by_snr: dict[str, Share] = Field(default_factory=dict)
    sensitivity_db: float | None = None


class Layer(Strict):
    """One layer of a model file, for one frame: ``name`` is its node's, ``op`` the ONNX operator.

    ``macs`` is null where nobody knows; ``macs_on_padding`` are those of them that multiply a zero beyond the edge of the
    input, which a processor can leave out. Bytes are those of what it reads and writes, and of its weights, as they lie in
    the file: a quantised tensor has a byte a value. They are null where a shape cannot be told.
    """

    name: str
    op: Text
    macs: NonNegativeInt | None
    macs_on_padding: NonNegativeInt = 0
    bytes_in: NonNegativeInt | None
    bytes_out: NonNegativeInt | None
    bytes_weights: NonNegativeInt | None


def sum_if_known(values: Iterable[int | None]) -> int | None:
    """The sum of ``values``; None where one of them is not known."""
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


class NamedFile(Strict):
    """A file of the bundle: its name, size in bytes and SHA-256."""

    file: Text
    size_bytes: NonNegativeInt = Field(alias="bytes")
    sha256: Sha256

    @classmethod
    def facts(cls, path: Path) -> dict[str, Any]:
        """What is said of the file at ``path``, which lies in the bundle's folder itself."""
        return {"file": path.name, "size_bytes": path.stat().st_size, "sha256": sha256_of(path)}


class ModelFile(NamedFile):
    """One precision of the model: its file, what it costs, and how good it is.

    ``params`` are parameters, ``macs`` multiply-accumulates of one frame (1 MAC = 2 FLOPs). ``float_layers`` of an int8 file
    are those that stayed float because they cost accuracy. Parity and accuracy are null where nobody looked.
    """

    params: NonNegativeInt
    macs: NonNegativeInt
    float_layers: tuple[str, ...] = ()
    parity: Parity | None = None
    accuracy: Accuracy | None = None
    layers: tuple[Layer, ...] = ()


class Reference(NamedFile):
    """Frames to check the model by, an ``.npz``: ``iq``, ``label``, ``snr_db``, ``classes``, and ``logits`` of the original.

    The original is the model that the bundle was exported from, in fp32 where that ran.
    """

    frames: PositiveInt


class Manifest(Strict):
    """What ``manifest.json`` says. ``classes`` are the names of the modulations in the order of the logits.

    ``plan`` says what was pruned away, for people. ``trtexec`` is what measures where thinwave does not run: a script for
    NVIDIA's tool, and models in a form that TensorRT 8 reads. ``manifest_sha256`` is the SHA-256 of the manifest's own
    text, with zeros in its place.
    """

    schema_version: Schema = Field(default=SCHEMA, alias="schema")
    model: Text
    plan: dict[str, JsonValue] | None = None
    classes: tuple[Text, ...] = Field(min_length=2)
    input: InputFormat
    precisions: dict[Precision, ModelFile] = Field(min_length=1)
    reference: Reference | None = None
    trtexec: tuple[NamedFile, ...] = ()
    versions: dict[str, str]
    manifest_sha256: Sha256 = NO_HASH

    def files(self) -> Iterator[tuple[str, NamedFile]]:
        """Yield every file that is named, with the place of its name."""
        for precision, entry in self.precisions.items():
            yield f"precisions.{precision}", entry
        if self.reference is not None:
            yield "reference", self.reference
        for number, carried in enumerate(self.trtexec):
            yield f"trtexec.{number}", carried


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: every file that its manifest names is there with the size and hash named."""

    folder: Path
    manifest: Manifest

    def path_of(self, precision: str) -> Path:
        """Return the path of the model in ``precision``; raises BundleError where the bundle has none."""
        for name, entry in self.manifest.precisions.items():
            if name == precision:
                return self.folder / entry.file
        held = ", ".join(self.manifest.precisions)
        raise BundleError(f"{self.folder}: the bundle holds no {precision} model; it holds: {held}")


def open_bundle(folder: Path) -> Bundle:
    """Read the manifest in ``folder`` and hold every file that it names to its size and hash.

    Raises BundleError where the folder or manifest is missing, the manifest is of another schema or has mistakes, a
    path leads out of the folder, or a file is missing or altered.
    """
    path = folder / MANIFEST_NAME
    text = _read_manifest(folder, path)
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BundleError(f"{path}: this is not JSON: {error}") from error
    except RecursionError as error:
        raise BundleError(f"{path}: is nested too deeply to be a manifest; copy the bundle again") from error
    _refuse_other_schema(data, path)
    manifest = read_strictly(Manifest, data, where=str(path), error=BundleError)
    _check_own_hash(text, manifest, path)
    _check_files(folder, manifest)
    return Bundle(folder, manifest)


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write ``manifest.json`` beside the files it names, whole or not at all, and return its path.

    Raises BundleError where :func:`open_bundle` would refuse the folder: the files come first.
    """
    _check_files(folder, manifest)
    values = {**manifest.model_dump(mode="json", by_alias=True), "manifest_sha256": NO_HASH}
    text = json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    before, _, after = text.rpartition(NO_HASH)
    path, unfinished = folder / MANIFEST_NAME, folder / f"{MANIFEST_NAME}.unfinished"
    try:
        unfinished.write_text(before + _digest(text) + after, encoding="utf-8")
        return unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file as 64 hexadecimal digits; raises OSError where it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _check_own_hash(text: str, manifest: Manifest, path: Path) -> None:
    before, _, after = text.rpartition(manifest.manifest_sha256)
    if _digest(before + NO_HASH + after) != manifest.manifest_sha256:
        raise BundleError(
            f"{path}: was altered: its text has another SHA-256 than it says itself; copy the bundle again, or export it again"
        )


def _read_manifest(folder: Path, path: Path) -> str:
    how = f"`thinwave export MODEL --data FILE --out {folder}` makes one"
    try:
        there, manifest_there = kind_of(folder), kind_of(path)
        if there == FILE and kind_of(folder.parent / MANIFEST_NAME) == FILE:
            raise BundleError(f"{folder}: is a file; give the bundle's folder, {folder.parent}")
        if there not in (None, FOLDER):
            raise BundleError(f"{folder}: is {there}, and a bundle is a folder; {how.replace(str(folder), 'FOLDER')}")
        if manifest_there is None:
            missing = "there is no such folder" if there is None else f"it holds no {MANIFEST_NAME}"
            raise BundleError(f"{folder}: no bundle here, {missing}; {how}")
        if _leads_out(path, folder):
            raise BundleError(f"{path}: leads out of the bundle; copy the file itself into the folder")
        return read_whole(path, MOST_MANIFEST_BYTES)
    except OSError as error:
        raise BundleError(f"{path}: the manifest cannot be read: {error.strerror}") from error
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"{path}: {error}") from error


def _refuse_other_schema(data: object, path: Path) -> None:
    """Refuse it before its keys are held to those of this schema, in a sentence and not in one a key."""
    if not isinstance(data, dict):
        return
    if "schema" not in data:
        raise BundleError(
            f"{path}: this manifest names no schema, and this thinwave reads schema {SCHEMA}; export it again"
        )
    schema = data["schema"]
    # True and 1.0 are equal to 1, and nobody writes them.
    if type(schema) is int and schema == SCHEMA:
        return
    newer = type(schema) is int and schema > SCHEMA
    way_out = (
        "it was made by a newer thinwave, so upgrade the one here"
        if newer
        else "no thinwave made it, so export it again"
    )
    said = "that is no number" if isinstance(schema, list | dict) else json.dumps(schema)
    said = said if len(said) <= SHOWN_OF_A_SCHEMA else f"{said[: SHOWN_OF_A_SCHEMA - 1]}…"
    raise BundleError(f"{path}: this bundle is of schema {said}, and this thinwave reads schema {SCHEMA}: {way_out}")


def _leads_out(path: Path, folder: Path) -> bool:
    # Resolved, so that neither "..", an absolute path nor a symbolic link leads to a file that did not come along.
    return not path.resolve().is_relative_to(folder.resolve())


def _check_files(folder: Path, manifest: Manifest) -> None:
    problems = []
    for place, entry in manifest.files():
        problem = _problem_with(folder, entry)
        if problem:
            problems.append(f"{place}: {entry.file}: {problem}")
    if problems:
        raise BundleError(
            f"{folder}: the files are not those of the manifest\n" + "\n".join(f"  {p}" for p in problems)
        )


def _problem_with(folder: Path, entry: NamedFile) -> str | None:
    path = folder / entry.file
    try:
        if _leads_out(path, folder):
            return "leads out of the bundle"
        if (kind := kind_of(path)) != FILE:
            return "is not there" if kind is None else f"is {kind}, expected a file"
        size_bytes = path.stat().st_size
        if size_bytes != entry.size_bytes:
            return f"has {size_bytes} bytes, expected {entry.size_bytes}"
        found = sha256_of(path)
    except (OSError, ValueError, RuntimeError) as error:
        # ValueError is a zero byte in the name, RuntimeError a symbolic link that leads to itself.
        return f"cannot be read: {error}"
    if found != entry.sha256:
        return f"was altered: SHA-256 {found[:12]}…, expected {entry.sha256[:12]}…"
    return None
