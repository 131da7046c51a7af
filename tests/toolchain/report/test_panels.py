from __future__ import annotations

from toolchain.report.panels import readable


def test_letters_without_a_glyph_are_spelt_out():
    assert readable("8PSK $é") == "8PSK $é"
    assert readable("制") == "<5236>"
    assert readable("a" * 40) == "a" * 27 + "…"
