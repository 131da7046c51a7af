"""Programs whose parts are kept the moment each is finished, and not done again while their results are there."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

Effort = TypeVar("Effort")


def argument_parser(description: str | None, parts: Mapping[str, Any], work: Path) -> argparse.ArgumentParser:
    """What the command line of such a program takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(parts), metavar="PART", help=", ".join(parts))
    parser.add_argument("--again", action="store_true", help="also what is done")
    parser.add_argument("--work", type=Path, default=work, help=f"models and bundles [default: runs/{work.name}]")
    parser.add_argument("--quick", action="store_true", help="a little of everything; its results stay in --work")
    return parser


def run_parts(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    parts: Mapping[str, Callable[[Path, Effort, dict[str, Any]], Any]],
    *,
    results: Path,
    effort: Effort,
    quick: Effort,
    needs: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Do what is asked for and not done, in order; return all that was found, by part.

    A part is called with the folder for its models, the effort, and what was found before; ``needs`` says which parts it
    reads. Each is written into ``results`` with the machine that it ran on.
    """
    from deploy.host import describe_host

    work = arguments.work / "quick" if arguments.quick else arguments.work
    results = work / results.name if arguments.quick else results
    work.mkdir(parents=True, exist_ok=True)
    found = json.loads(results.read_text()) if results.exists() else {"command": f"python benchmarks/{parser.prog}"}
    for name, part in parts.items():
        if (arguments.only and name not in arguments.only) or (name in found and not arguments.again):
            continue
        if lacking := [before for before in needs.get(name, ()) if before not in found]:
            parser.error(f"{name} reads what {lacking[0]} found; run that first")
        print(f"{name} …", flush=True)
        found[name] = part(work, quick if arguments.quick else effort, found)
        found.setdefault("hosts", {})[name] = describe_host()
        partial = results.with_suffix(".partial")
        partial.write_text(json.dumps(found, indent=1) + "\n")
        partial.replace(results)
    return found
