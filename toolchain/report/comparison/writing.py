"""The four files of a report, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from toolchain.compared import Compared
from toolchain.errors import RunError
from toolchain.report.comparison.markdown import markdown
from toolchain.report.comparison.page import page
from toolchain.report.comparison.summary import Summary, summary_of
from toolchain.report.comparison.table import to_csv, to_json


def write_report(compared: Sequence[Compared], out: Path, *, baseline: str | None = None) -> tuple[Path, ...]:
    """Write ``report.html``, ``report.md``, ``report.csv`` and ``report.json`` of ``compared`` into ``out``.

    ``baseline`` is the method that the others are held against, by default the comparisons' own. Gives the paths. Raises
    RunError as :func:`toolchain.report.comparison.gathering.gathered` does, and where ``out`` cannot be written to.
    """
    return write_summary(summary_of(compared, baseline), out)


def write_summary(summary: Summary, out: Path) -> tuple[Path, ...]:
    """Write the four files of a summary that is computed already."""
    texts = {
        "report.html": page(summary),
        "report.md": markdown(summary),
        "report.csv": to_csv(summary),
        "report.json": json.dumps(to_json(summary), indent=2, allow_nan=False, ensure_ascii=False) + "\n",
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out}: cannot be made a folder: {error.strerror}; name another with --out") from error
    in_the_way = [name for name in texts if (out / name).is_dir()]
    if in_the_way:
        raise RunError(
            f"{out}: {', '.join(in_the_way)} is a folder there; move it away, or name another place with --out"
        )
    partials = {out / name: out / f".{name}.partial" for name in texts}
    try:
        for path, partial in partials.items():
            partial.write_text(texts[path.name], encoding="utf-8")
        # All are written before the first takes its place: a disk that fills up leaves the report of before.
        for path, partial in partials.items():
            partial.replace(path)
    except OSError as error:
        raise RunError(
            f"{out}: the report cannot be written: {error.strerror}; name another place with --out"
        ) from error
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
    return tuple(partials)
