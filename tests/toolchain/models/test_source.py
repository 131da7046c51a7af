import numpy as np
import pytest
import torch

from toolchain.errors import ModelError
from toolchain.models import create_model, open_model


@pytest.mark.parametrize("classes", [None, 4, ("a", "b", "c", "d")])
def test_the_same_name_gives_the_same_weights(own_code, classes):
    first, second = (open_model(own_code, classes=classes, length=16)[0] for _ in range(2))
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())
    seeded = open_model(own_code, classes=4, length=16)[0]
    assert all(torch.equal(tensor, seeded.state_dict()[name]) for name, tensor in first.state_dict().items())


def test_opening_leaves_torchs_generator_alone(own_code):
    before = torch.get_rng_state()
    open_model(own_code, length=16)
    assert torch.equal(torch.get_rng_state(), before)


def test_own_code_says_its_number_of_classes(own_code):
    assert open_model(own_code, length=16)[1].classes == ("class 0", "class 1", "class 2", "class 3")
    assert open_model(own_code, classes=("x", "y"), length=16)[1].classes == ("x", "y")


def test_a_row_of_the_zoo_has_eleven_classes_where_nobody_says():
    model, card = open_model("resnet1d20", length=64)
    assert len(card.classes) == 11
    expected = create_model("resnet1d20", generator=torch.Generator().manual_seed(0)).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["resnet1d20", "own"])
@pytest.mark.parametrize(
    "asked",
    [{"classes": 0}, {"classes": -1}, {"classes": 2.5}, {"classes": ("a", "a")}, {"classes": "ab"}, {"length": 0}],
)
def test_numbers_that_make_no_model_are_refused(own_code, name, asked):
    with pytest.raises(ModelError, match=r"expected|needs at least"):
        open_model(own_code if name == "own" else name, **{"length": 16, **asked})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((None,), 'model "None" is not one of resnet1d20'),
        ((["resnet1d20"],), "is not one of resnet1d20"),
        (("resnet1d20", 0), "classes = 0: expected a whole number over 0"),
        (("resnet1d20", -1), "classes = -1: expected"),
        (("resnet1d20", 2.5), "classes = 2.5: expected"),
        (("resnet1d20", None), "classes = None: expected"),
        (("resnet1d20", True), "classes = True: expected"),
        (("resnet1d20", 5, 0), "cannot take frames of 0 samples: it needs at least 5"),
        (("resnet1d20", 5, 64.0), "length = 64.0: expected"),
    ],
)
def test_what_is_no_model_of_the_zoo_is_refused(asked, message):
    with pytest.raises(ModelError, match=message):
        create_model(*asked)


def test_numbers_of_numpy_are_taken(frames):
    assert create_model("resnet1d20", np.int64(5), np.int32(64))(torch.from_numpy(frames)).shape == (32, 5)
