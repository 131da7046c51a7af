import json
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from toolchain.errors import ModelError
from toolchain.models import (
    Edit,
    ModelCard,
    build_model,
    create_model,
    edited,
    load_card,
    load_model,
    load_weights,
    save_model,
)
from toolchain.pruning import find_units

CARD = ModelCard(architecture="resnet1d20", classes=("a", "b", "c", "d", "e"), length=64)


def test_a_model_comes_back_with_its_card_and_the_same_logits(model, frames, tmp_path):
    save_model(tmp_path / "m.safetensors", model, CARD)
    loaded, card = load_model(tmp_path / "m.safetensors")
    assert card == CARD
    assert load_card(tmp_path / "m.safetensors") == CARD
    with torch.no_grad():
        assert torch.equal(loaded(torch.from_numpy(frames)), model(torch.from_numpy(frames)))


def test_a_pruned_model_gives_the_same_logits_in_a_fresh_process_without_the_pruner(model, frames, tmp_path):
    units = {unit.name: unit for unit in find_units(model, frames)}
    dropped = ("stages.0.1", "stages.1.0", "stages.2.2")
    edits = tuple(edit for name in dropped for edit in units[name].edits)
    pruned = edited(model, edits)
    card = ModelCard(architecture="resnet1d20", classes=CARD.classes, length=64, dropped=dropped, edits=edits)
    save_model(tmp_path / "m.safetensors", pruned, card)
    frames.tofile(tmp_path / "frames")
    program = (
        "import sys, numpy as np, torch; from pathlib import Path; from toolchain.models import load_model\n"
        "torch.set_num_threads(1); folder = Path(sys.argv[1])\n"
        "model, card = load_model(folder / 'm.safetensors')\n"
        "iq = torch.from_numpy(np.fromfile(folder / 'frames', np.float32).reshape(-1, 2, 64))\n"
        "model(iq).detach().numpy().tofile(folder / 'logits')\n"
        "print(any(name.startswith('toolchain.pruning') for name in sys.modules))\n"
    )
    said = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
    with torch.no_grad():
        expected = pruned(torch.from_numpy(frames)).numpy().tobytes()
    assert (tmp_path / "logits").read_bytes() == expected


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_plain_weights_are_taken_for_a_model_that_is_named(model, name, tmp_path):
    weights = model.state_dict()
    if name.endswith(".pt"):
        torch.save(weights, tmp_path / name)
    else:
        save_file(weights, tmp_path / name)
    assert load_card(tmp_path / name) is None
    loaded = load_weights(tmp_path / name, "resnet1d20", 5, 64)
    assert all(torch.equal(tensor, weights[key]) for key, tensor in loaded.state_dict().items())


def test_a_pickle_that_would_run_code_is_refused_before_it_does(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "w.pt").write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(ModelError, match="not a readable file of weights"):
        load_weights(tmp_path / "w.pt", "resnet1d20", 5, 64)
    assert not (tmp_path / "ran").exists()


def broken(weights, how):
    weights = dict(weights)
    if how == "missing":
        del weights["stem.0.weight"]
    elif how == "extra":
        weights["more"] = torch.zeros(1)
    elif how == "shape":
        weights["head.2.weight"] = torch.zeros(24, 64)
    elif how == "nan":
        weights["head.2.bias"] = torch.full((5,), float("nan"))
    return weights


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", r"1 missing \(stem.0.weight\), 0 not in the model"),
        ("extra", r"0 missing, 1 not in the model \(more\)"),
        ("shape", r"head.2.weight has shape \(24, 64\), the model expects \(5, 64\)"),
        ("nan", "head.2.bias holds NaN or infinity"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(model, how, message, tmp_path):
    torch.save(broken(model.state_dict(), how), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=message):
        load_weights(tmp_path / "w.pt", "resnet1d20", 5, 64)


def test_a_file_that_is_missing_or_no_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="there is no such file"):
        load_model(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ModelError, match=r"not a readable \.safetensors"):
        load_model(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(ModelError, match="not which model they belong to"):
        load_model(tmp_path / "plain.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="expected a state_dict"):
        load_weights(tmp_path / "list.pt", "resnet1d20", 5, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 3}, "a newer thinwave wrote it"),
        ({"schema": 1}, "made by an older thinwave; make it again"),
        ({"schema": "two"}, "made by an older thinwave; make it again"),
        ({"classes": "abc"}, "model card .* cannot be read .classes is no list"),
        ({"classes": ["a", "b", "a"]}, "expected a list of distinct names"),
        ({"classes": []}, "expected a list of distinct names"),
        ({"dropped": "stages"}, "dropped is no list"),
        ({"dropped": [1]}, "dropped: not as save_model writes it"),
        ({"plan": [1]}, "plan: not as save_model writes it"),
        ({"training": None}, "training: not as save_model writes it"),
        ({"training": "long", "length": True}, "length, training: not as"),
        ({"edits": [{"module": "stages.9", "becomes": "identity"}]}, r"m\.safetensors: .* no module of that name"),
        ({"edits": [{"module": "stem.0", "becomes": "gone"}]}, r"m\.safetensors: .* no element of a ModuleList"),
        ({"length": "long"}, "model card .* cannot be read"),
        ({"classes": [1, 2]}, "model card .* cannot be read"),
        ({"surprise": 1}, "model card .* cannot be read"),
        ({"architecture": "resnet3d"}, r'm\.safetensors: .*"resnet3d" is not one of'),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(change, message, tmp_path):
    values = {
        "schema": 2,
        "edits": [],
        "architecture": "resnet1d20",
        "classes": ["a"],
        "length": 8,
        "dropped": [],
        "plan": None,
        "training": {},
        **change,
    }
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors", metadata={"thinwave": json.dumps(values)})
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_a_model_file_cut_short_is_refused(model, part, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(path, model, CARD)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ModelError, match="damaged or cut short"):
        load_model(path)


def test_equal_models_give_equal_files(tmp_path):
    for name in ("a", "b"):
        made = create_model("resnet1d20", 5, 64, generator=torch.Generator().manual_seed(1))
        save_model(tmp_path / name, made, CARD)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_edits_that_leave_a_model_without_logits_are_refused(model, tmp_path):
    edits = (Edit("stages.1.0"),)
    card = ModelCard(architecture="resnet1d20", classes=CARD.classes, length=64, edits=edits)
    save_model(tmp_path / "m.safetensors", edited(model, edits), card)
    with pytest.raises(
        ModelError, match=r"m\.safetensors: expected logits \(1, 5\) of a frame \(1, 2, 64\), its model"
    ):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_checkpoint_that_holds_one_state_dict_is_taken(model, key, tmp_path):
    weights = model.state_dict()
    torch.save({key: weights, "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    loaded = load_weights(tmp_path / "w.pt", "resnet1d20", 5, 64)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.state_dict().items())


def test_names_that_data_parallel_made_longer_are_taken(model, tmp_path):
    torch.save(nn.DataParallel(model).state_dict(), tmp_path / "w.pt")
    loaded = load_weights(tmp_path / "w.pt", "resnet1d20", 5, 64)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("held", [{"epoch": 3}, {"model": {"a": 1}}, {}, {"model": {}}, "both"])
def test_a_checkpoint_without_one_state_dict_is_refused_with_the_way_out(model, held, tmp_path):
    weights = model.state_dict()
    torch.save({"model": weights, "state_dict": weights} if held == "both" else held, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"expected a state_dict .*; save the weights alone, with torch\.save"):
        load_weights(tmp_path / "w.pt", "resnet1d20", 5, 64)


def test_a_model_with_tied_weights_is_saved_and_loaded(own_code, tmp_path):
    torch.manual_seed(0)
    model = build_model(own_code, 3, 16).eval()
    card = ModelCard(architecture=own_code, classes=("a", "b", "c"), length=16)
    save_model(tmp_path / "m.safetensors", model, card)
    loaded, _ = load_model(tmp_path / "m.safetensors", trusted=own_code)
    assert loaded.first.weight is loaded.second.weight
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_paths_may_be_text(model, tmp_path):
    path = str(tmp_path / "m.safetensors")
    save_model(path, model, CARD)
    assert load_model(path)[1] == load_card(path) == CARD
    plain = load_weights(path, "resnet1d20", 5, 64)
    assert all(map(torch.equal, plain.parameters(), model.parameters()))
    with pytest.raises(ModelError, match="there is no such file"):
        load_model(str(tmp_path / "none.safetensors"))
