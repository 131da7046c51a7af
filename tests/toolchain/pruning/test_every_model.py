"""Every model of the zoo: its units, a plan of it, and the pruned model on disk, in a fresh build and as ONNX."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from toolchain.cost import cost
from toolchain.errors import PlanError
from toolchain.export import export_onnx
from toolchain.models import ARCHITECTURES, ModelCard, create_model, load_model, save_model
from toolchain.pruning import apply_plan, find_units, log_flow, plan_from_json, plan_layers, synflow_scores

# name -> (units, of which removable, of which reducible)
PRUNABLE = {
    "resnet1d20": (9, 7, 2),
    "resnet1d56": (27, 25, 2),
    "resnet1d110": (54, 52, 2),
    "resnet56": (27, 25, 2),
    "resnet110": (54, 52, 2),
    "vgg1d16": (9, 6, 0),
    "vgg16": (5, 4, 0),
    "transformer": (8, 8, 0),
    "signet50": (16, 12, 4),
    "cnn1d": (17, 17, 0),
    # One convolution of 64 to 64.
    "cnn2": (1, 1, 0),
    # Its two dense layers of 128, and nothing else.
    "mcldnn": (2, 2, 0),
}
LENGTH = 128


def made(name):
    return create_model(name, generator=torch.Generator().manual_seed(0)).eval()


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).normal(size=(16, 2, LENGTH)).astype(np.float32)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_units_of_every_model_are_known(name, noise):
    if name not in PRUNABLE:
        with pytest.raises(PlanError, match=r"no unit that can be dropped: .* channels"):
            find_units(made(name), noise)
        return
    kinds = [unit.kind for unit in find_units(made(name), noise)]
    assert (len(kinds), kinds.count("removable"), kinds.count("reducible")) == PRUNABLE[name]


@pytest.mark.parametrize("name", [name for name in PRUNABLE if name not in ("signet50", "vgg16", "resnet110", "cnn2")])
def test_every_model_is_planned_pruned_and_found_again_with_the_same_bits(name, noise, tmp_path):
    model = made(name)
    plan = plan_layers(model, noise, keep=0.5)
    assert plan_from_json(json.loads(json.dumps(plan.to_json()))) == plan
    pruned = apply_plan(plan, model).eval()
    weight = cost(pruned, (2, LENGTH))
    assert (weight.macs, weight.params) == (plan.macs_left, plan.params_left)
    # An LSTM is in the stem of mcldnn: its flow has no absolute height.
    if name != "mcldnn":
        assert plan.log_flow == pytest.approx(log_flow(model, plan.kept, (2, LENGTH)), rel=1e-12)
        assert np.isfinite(synflow_scores(model, (2, LENGTH))).all()
    classes = tuple(f"class {index}" for index in range(11))
    card = ModelCard(architecture=name, classes=classes, length=LENGTH, dropped=plan.dropped, edits=plan.edits)
    save_model(tmp_path / "m.safetensors", pruned, card)
    again, found = load_model(tmp_path / "m.safetensors")
    assert found == card
    with torch.no_grad():
        assert torch.equal(again(torch.from_numpy(noise)), pruned(torch.from_numpy(noise)))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PRUNABLE if name != "cnn2"])
def test_what_is_left_of_every_model_computes_the_same_as_onnx(name, noise, tmp_path, held_to_parity):
    model = made(name)
    pruned = apply_plan(plan_layers(model, noise, keep=0.5), model).eval()
    export_onnx(pruned, tmp_path / "m.onnx", classes=[str(index) for index in range(11)], length=LENGTH)
    assert held_to_parity(pruned, tmp_path / "m.onnx", noise).agreement == 1.0


ROW = re.compile(r"\| `([\w-]+)` \| ([\d,]+) \| ([\d,]+) \| ([\d.]+%) \|")
README = Path(__file__).parents[3] / "README.md"
TABLE = {name: (params, macs, most) for name, params, macs, most in ROW.findall(README.read_text())}


def test_the_readme_has_a_row_for_every_model():
    assert sorted(TABLE) == sorted(ARCHITECTURES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_readme_says_what_the_program_says(name, thinwave_here):
    params, macs, most = TABLE[name]
    said = " ".join(thinwave_here("cost", name).stdout.split())
    assert f" {params} {macs} 100.0%" in said
    assert (f"removes at most {most} of the MACs" in said) or (most == "0.0%" and "No unit can be dropped" in said)
