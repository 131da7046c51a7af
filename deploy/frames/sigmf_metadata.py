"""The metadata of a SigMF recording, read as what a stranger wrote: size, shape and numbers are checked before use.

The standard: https://sigmf.org, version 1.2.6. The ``sigmf`` library checks the global fields and the captures against
the standard's schema; it opens no file here, for on opening one it would hash the whole recording.
"""

from __future__ import annotations

import json
import math
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import DatasetError

META_SUFFIX, DATA_SUFFIX = ".sigmf-meta", ".sigmf-data"
_MOST_BYTES = 64 << 20
# Parsed, a file of this many objects and values takes about half a GiB; a million annotations of eight fields fit.
_MOST_OBJECTS = 1 << 20
_MOST_VALUES = 1 << 23
# The schema takes 20 µs for each.
_MOST_CAPTURES = 50_000
_MOST_NAME = 200
_MOST_SNR_DB = 1000.0
# Beyond it no file has a sample; int() of thousands of digits would take minutes.
_MOST_DIGITS = 19
_GLOBAL_FIELDS = ("datatype", "version", "sample_rate", "dataset", "num_channels", "offset", "trailing_bytes")
_CAPTURE_FIELDS = ("sample_start", "header_bytes")
_SNR_FIELDS = ("snrdb", "snr_db", "snr")


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """A labelled part of the recording: ``count`` is None where it lasts until its capture ends, ``snr_db`` if unsaid."""

    index: int
    label: str
    start: int
    count: int | None
    snr_db: float | None

    def __str__(self) -> str:
        return f"annotation {self.index} ({self.label})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Capture:
    """A part of the recording that was taken in one go, behind ``header_bytes`` that are no samples."""

    start: int
    header_bytes: int


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a ``.sigmf-meta`` says that is of use here.

    ``snr_db`` is the recording's, for annotations that do not say their own; ``unlabelled`` annotations were left out.
    """

    path: Path
    datatype: str
    dataset: str | None
    metadata_only: bool
    sample_rate_hz: float | None
    channels: int
    offset: int
    trailing_bytes: int
    captures: tuple[Capture, ...]
    annotations: tuple[Annotation, ...]
    snr_db: float | None
    unlabelled: int


def read_metadata(path: Path) -> Metadata:
    """Read a ``.sigmf-meta``; :class:`DatasetError` that names the field where it cannot be used."""
    content = _parsed(path)
    parts = {"global": dict, "captures": list, "annotations": list}
    for part, kind in parts.items():
        if not isinstance(content, dict) or not isinstance(content.get(part), kind):
            raise DatasetError(
                f"{path.name}: has no {part}; expected one JSON object with global, captures and annotations"
            )
    common, captures = content["global"], content["captures"]
    _check_schema(path.name, common, captures)
    annotations = []
    unlabelled = 0
    for index, fields in enumerate(content["annotations"]):
        place = f"{path.name}: annotation {index}"
        if not isinstance(fields, dict):
            raise DatasetError(f"{place} is {_shown(fields)}; expected an object of fields")
        label = fields.get("core:label")
        if label is None or label == "":
            unlabelled += 1
            continue
        # A name goes to the terminal and into reports: no control characters.
        if not isinstance(label, str) or not label.strip() or not label.isprintable() or len(label) > _MOST_NAME:
            raise DatasetError(
                f"{place}: core:label is {_shown(label)}; expected printable text of at most {_MOST_NAME} characters"
            )
        count = fields.get("core:sample_count")
        annotations.append(
            Annotation(
                index=index,
                label=label,
                start=_whole(fields.get("core:sample_start"), f"{place}: core:sample_start"),
                count=None if count is None else _whole(count, f"{place}: core:sample_count"),
                snr_db=_snr_db(fields, place),
            )
        )
    rate_hz = common.get("core:sample_rate")
    return Metadata(
        path=path,
        datatype=common["core:datatype"],
        dataset=common.get("core:dataset"),
        metadata_only=common.get("core:metadata_only") is True,
        sample_rate_hz=None if rate_hz is None else float(rate_hz),
        channels=int(common.get("core:num_channels", 1)),
        offset=int(common.get("core:offset", 0)),
        trailing_bytes=int(common.get("core:trailing_bytes", 0)),
        captures=tuple(
            Capture(start=int(fields["core:sample_start"]), header_bytes=int(fields.get("core:header_bytes", 0)))
            for fields in captures
        ),
        annotations=tuple(annotations),
        snr_db=_snr_db(common, f"{path.name}: global") if any(item.snr_db is None for item in annotations) else None,
        unlabelled=unlabelled,
    )


def regular_size(path: Path) -> int:
    """Return the size in bytes of a regular file; DatasetError for anything else, for a pipe would be waited for."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path}: cannot be read: {reason}. Check the path") from error
    if not stat.S_ISREG(found.st_mode):
        raise DatasetError(f"{path}: not a regular file; expected a SigMF recording. Name the file")
    return found.st_size


def _parsed(path: Path) -> Any:
    name = path.name
    size_bytes = regular_size(path)
    if size_bytes > _MOST_BYTES:
        raise DatasetError(
            f"{name}: {size_bytes} bytes of metadata; expected at most {_MOST_BYTES}. Cut the recording into several"
        )
    try:
        with path.open("rb") as file:
            content = file.read(size_bytes)
    except OSError as error:
        raise DatasetError(f"{name}: cannot be read: {error.strerror or error}") from error
    objects, values = content.count(b"{") + content.count(b"["), content.count(b",")
    if objects > _MOST_OBJECTS or values > _MOST_VALUES:
        raise DatasetError(
            f"{name}: has {objects} objects and {values} values; expected at most {_MOST_OBJECTS} and {_MOST_VALUES}. "
            f"Cut the recording into several"
        )
    try:
        text = content.decode("utf-8-sig")
        return json.loads(
            text, object_pairs_hook=_without_twins, parse_int=_bounded_int, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise DatasetError(f"{name}: byte {error.start} is not UTF-8; expected JSON in UTF-8. Save it so") from error
    except RecursionError as error:
        raise DatasetError(f"{name}: is nested deeper than any metadata; expected SigMF's JSON") from error
    except ValueError as error:
        raise DatasetError(f"{name}: is no JSON: {_cut(str(error))}. Correct it, or fetch it again") from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        # Which of the two holds differs from reader to reader.
        twin = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twin!a} is there twice in one object")
    return fields


def _bounded_int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits, {digits[:20]}…")
    return int(digits)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it has {name}, which JSON does not know")


def _check_schema(name: str, common: Mapping[str, Any], captures: list[Any]) -> None:
    """Let the library compare what is used here with the standard's schema; other fields are let be."""
    # Imported for its use alone: it brings much, and few sets are recordings.
    from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
    from sigmf.validate import validate  # type: ignore[import-untyped]

    if len(captures) > _MOST_CAPTURES:
        raise DatasetError(
            f"{name}: has {len(captures)} captures; expected at most {_MOST_CAPTURES}. Cut the recording into several"
        )
    metadata_only = {"core:metadata_only": common["core:metadata_only"]} if "core:metadata_only" in common else {}
    # Without other namespaces, the library has nothing to warn of.
    used = {
        "global": {**_only(common, _GLOBAL_FIELDS), **metadata_only},
        "captures": [_only(fields, _CAPTURE_FIELDS) if isinstance(fields, dict) else fields for fields in captures],
        "annotations": [],
    }
    try:
        validate(used)
    except ValidationError as error:
        place = " ".join(str(part) for part in error.absolute_path)
        raise DatasetError(
            f"{name}: {place or 'the whole'}: {_cut(error.message)}; expected what SigMF 1.2 says. "
            f"sigmf_validate tells all that is amiss"
        ) from error
    except RecursionError as error:
        raise DatasetError(f"{name}: is nested deeper than any metadata; expected SigMF's JSON") from error


def _only(fields: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {f"core:{name}": fields[f"core:{name}"] for name in names if f"core:{name}" in fields}


def _snr_db(fields: Mapping[str, Any], place: str) -> float | None:
    """Find the SNR, in dB: ``capture_details:SNRdB``, or any namespace's ``snr_db`` or ``snr``. None where none says it."""
    found: dict[str, float] = {}
    for key, value in fields.items():
        if key.rpartition(":")[2].lower() in _SNR_FIELDS and value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST_SNR_DB:
                raise DatasetError(f"{place}: {_cut(key)} is {_shown(value)}; expected a number of dB")
            found[key] = float(value)
    if len(set(found.values())) > 1:
        said = " and ".join(f"{_cut(key)} {value:g}" for key, value in found.items())
        raise DatasetError(f"{place}: has two SNRs, {said}; expected one. Leave out the one that does not hold")
    return next(iter(found.values()), None)


def _whole(value: object, place: str) -> int:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DatasetError(f"{place} is {_shown(value)}; expected a whole number, 0 or more")
    return value


def _shown(value: object) -> str:
    """Say what a value is; never the whole of a large one."""
    if value is None:
        return "missing"
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return ascii(value)[:60]


def _cut(text: str) -> str:
    return (text if text.isprintable() else ascii(text)[1:-1])[:200]
