"""The table of methods is what there is."""

from toolchain.baselines import BASELINES, CRITERIA
from toolchain.comparison.methods import CHANNELS, KINDS, LAYERS, SOFT, reference_of


def test_every_baseline_and_every_criterion_is_a_method():
    assert set(LAYERS) == {"layers", *BASELINES}
    assert set(CHANNELS) == {*CRITERIA, SOFT}
    assert len(KINDS) == len(LAYERS) + len(CHANNELS) + 1


def test_channel_methods_are_brought_to_ours_or_else_to_the_first_of_layers():
    assert reference_of(("l1", "psr", "layers")) == "layers"
    assert reference_of(("l1", "sr-init", "psr")) == "sr-init"
    assert reference_of(("l1", "taylor")) is None
