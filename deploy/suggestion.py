"""The word that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``', did you mean "…"?'`` where one of ``known`` is near ``word``, else an empty text."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f', did you mean "{near[0]}"?' if near else ""


def none_named(what: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence that no ``what`` has that ``name``, with the one that was probably meant, and all that there are."""
    names = list(known)
    return f'no {what} is named "{name}"{did_you_mean(name, names)}; there are: {", ".join(names)}'
