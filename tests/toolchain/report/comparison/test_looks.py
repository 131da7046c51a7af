from toolchain.comparison.methods import KINDS
from toolchain.report.comparison.looks import look_of


def test_methods_are_told_apart_without_colour():
    looks = [look_of(method, kind) for method, kind in {"original": "original", **KINDS}.items()]
    for part in ("symbol", "dash", "colour"):
        assert len({getattr(look, part) for look in looks}) == len(looks), part


def test_a_method_that_is_not_known_looks_like_its_kind():
    assert look_of("new", "channels").symbol == "bowtie"
    assert look_of("new", "channels") == look_of("new", "channels")
