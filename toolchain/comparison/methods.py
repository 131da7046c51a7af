"""The methods that can be compared, by the kind of what they take out."""

from __future__ import annotations

from deploy.suggestion import none_named
from toolchain.compared import OURS, Kind

SCRATCH, SOFT = "scratch", "sfp"
LAYERS = (OURS, "psr", "random-layers", "sr-init", "lcp")
CHANNELS = ("l1", "l2", "fpgm", "bn-scale", SOFT, "rfp", "taylor", "lamp", "random-channels")
KINDS: dict[str, Kind] = {
    **dict.fromkeys(LAYERS, "layers"),
    **dict.fromkeys(CHANNELS, "channels"),
    SCRATCH: "scratch",
}
"""Name -> kind. "layers" is thinwave's own; a test holds the others to :mod:`toolchain.baselines`."""


def unknown_method(name: str) -> str:
    """The sentence that there is no such method, with those that there are."""
    return none_named("method", name, KINDS)


def reference_of(methods: tuple[str, ...]) -> str | None:
    """The method whose figures channel methods are brought to: ours, or else the first that takes out layers."""
    layers = [name for name in methods if KINDS[name] == "layers"]
    return OURS if OURS in layers else next(iter(layers), None)
