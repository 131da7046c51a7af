import pytest
import torch
from torch import nn

from toolchain.errors import ModelError
from toolchain.models import Edit, edited
from toolchain.models.structure import edit_from_json


def test_dropping_a_unit_is_the_same_as_a_branch_that_gives_zero(model, frames, without_units):
    thinner = without_units(model, ["stages.0.1", "stages.1.0"])
    silenced = edited(model, [])
    for name in ("stages.0.1", "stages.1.0"):
        norm = silenced.get_submodule(f"{name}.branch.4")
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    iq = torch.from_numpy(frames)
    with torch.no_grad():
        assert torch.equal(thinner(iq), silenced(iq))


def test_a_dropped_unit_leaves_an_identity_and_a_transition_its_shortcut_with_its_weights(model):
    edits = [Edit("stages.0.1"), Edit("stages.1.0", ("shortcut", "activation"))]
    thinner = edited(model, edits)
    assert isinstance(thinner.stages[0][1], nn.Identity)
    kept = thinner.state_dict()
    assert torch.equal(kept["stages.1.0.shortcut.0.weight"], model.state_dict()["stages.1.0.shortcut.0.weight"])
    assert not any(name.startswith("stages.1.0.branch") for name in kept)


def test_the_original_is_left_as_it_was(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    thinner = edited(model, [Edit("stages.1.0", ("shortcut",))])
    nn.init.zeros_(thinner.stages[1][0].shortcut[0].weight)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_zero_takes_the_place_of_a_branch_whose_sum_is_written_elsewhere():
    class Outside(nn.Module):
        def __init__(self, in_place):
            super().__init__()
            self.branch, self.in_place = nn.Conv1d(2, 2, 1), in_place

        def forward(self, x):
            y = self.branch(x)
            if self.in_place:
                y += x
                return y
            return x + y

    iq = torch.randn(3, 2, 5)
    assert torch.equal(edited(Outside(False), [Edit("branch", "zero")])(iq), iq)
    assert torch.equal(edited(Outside(True), [Edit("branch", "zeros")])(iq), iq)


def test_an_element_leaves_its_list_and_the_others_keep_their_names():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Conv1d(2, 2, 1) for _ in range(4)])

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return self.layers[0](x)

    rows = Rows()
    left = edited(rows, [Edit("layers.0", "gone"), Edit("layers.2", "gone")])
    assert list(left.state_dict()) == ["layers.1.weight", "layers.1.bias", "layers.3.weight", "layers.3.bias"]
    iq = torch.randn(3, 2, 5)
    second, last = rows.layers[1], rows.layers[3]
    assert torch.equal(left(iq), second(last(second(iq))))
    assert len(rows.layers) == 4


def test_a_chain_may_end_in_a_relu_that_the_module_had_as_a_function():
    reduced = edited(nn.ModuleDict({"unit": nn.Sequential(nn.Identity())}), [Edit("unit", ("0", "relu()"))])
    assert torch.equal(reduced["unit"](torch.tensor([-1.0, 2.0])), torch.tensor([0.0, 2.0]))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit("stages.7.0"), 'cannot take out "stages.7.0": the model has no module of that name'),
        (Edit(""), "no module of that name"),
        (Edit("stages.0.0", ("shortcut", "more")), 'cannot reduce "stages.0.0": it has no part more'),
        (Edit("stages.0.0", "gone"), "it is no element of a ModuleList"),
    ],
)
def test_what_the_model_does_not_have_cannot_be_taken_out(model, edit, message):
    with pytest.raises(ModelError, match=message):
        edited(model, [edit])


@pytest.mark.parametrize(
    "values",
    [
        {"module": "a"},
        {"module": 1, "becomes": "zero"},
        {"module": "a", "becomes": "b"},
        {"module": "a", "becomes": [1]},
    ],
)
def test_what_is_no_edit_is_refused(values):
    with pytest.raises((ValueError, KeyError)):
        edit_from_json(values)
