"""Which commit of thinwave's source runs, read without git, which a device does not have."""

from __future__ import annotations

import re
from pathlib import Path

from deploy.kernel_files import read_text

CHECKOUT = Path(__file__).resolve().parent.parent


def commit_of(folder: Path = CHECKOUT) -> str | None:
    """Return the commit that is checked out in ``folder``, in hexadecimal; None where it is no checkout of git's.

    An installed package is none. What was changed since the commit is not seen.
    """
    git = folder / ".git"
    # Of a second working tree it is a file that says where its folder is.
    if found := re.fullmatch(r"gitdir: (.+)", read_text(git) or ""):
        git = folder / found[1]
    head = read_text(git / "HEAD") or ""
    branch = re.fullmatch(r"ref: (refs/\S+)", head)
    return _as_commit(head) if branch is None else _commit_of_branch(git, branch[1])


def _commit_of_branch(git: Path, branch: str) -> str | None:
    # Branches are kept with the first working tree.
    common = git / (read_text(git / "commondir") or "")
    if commit := _as_commit(read_text(common / branch) or ""):
        return commit
    rows = [line.split() for line in (read_text(common / "packed-refs") or "").splitlines()]
    return next((_as_commit(row[0]) for row in rows if row[1:] == [branch]), None)


def _as_commit(text: str) -> str | None:
    return text if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text) else None
