"""What is known of a comparison before anything is trained."""

import pytest
import torch

from toolchain.comparison.beforehand import looked_at
from toolchain.comparison.recipe import read_comparison
from toolchain.models import ModelCard, create_model, save_model

OWN = "from torch import nn\n\ndef build(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(256, classes))\n"


@pytest.fixture
def look(tmp_path):
    """What is known of a recipe with one set and one model."""

    def at(data, model):
        path = tmp_path / "recipe.toml"
        path.write_text(
            f'[[data]]\nname = "d"\n{data}\n[[models]]\n{model}\n[train]\nbatch = 8\n[finetune]\nbatch = 8\n'
        )
        return looked_at(read_comparison(path), lambda *told: None)

    return at


def test_code_of_ones_own_is_told_from_other_code_of_the_same_name(look, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_before.py").write_text(OWN)
    first = look("frames_per_cell = 5", 'name = "own_before:build"').identities
    assert look("frames_per_cell = 5", 'name = "own_before:build"').identities == first
    (tmp_path / "own_before.py").write_text(OWN + "# changed\n")
    other = look("frames_per_cell = 5", 'name = "own_before:build"').identities
    assert first.keys() == other.keys() == {"models.own_before:build.code"}
    assert first != other


@pytest.mark.parametrize(
    ("kind", "split", "warned"),
    [("plain", "stratified", True), ("plain", "sequential-80-20", False), ("thinwave", "stratified", False)],
)
def test_plain_weights_are_warned_of_once_where_they_may_have_seen_what_tests_them(
    look, noise_set, tmp_path, caplog, kind, split, warned
):
    noise_set(tmp_path / "frames.h5", classes=tuple("abcde"), length=64)
    model = create_model("cnn1d", classes=5, length=64)
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    save_model(
        tmp_path / "thinwave.safetensors", model, ModelCard(architecture="cnn1d", classes=tuple("abcde"), length=64)
    )
    file = "plain.pt" if kind == "plain" else "thinwave.safetensors"
    look(f'file = "frames.h5"\nsplit = "{split}"', f'name = "cnn1d"\nweights = "{file}"')
    told = [record.getMessage() for record in caplog.records if "plain weights do not say" in record.getMessage()]
    assert len(told) == warned
