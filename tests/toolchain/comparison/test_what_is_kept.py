"""What of a comparison is made again, and what is not: in a finished folder, copied for each test."""

import json
import shutil

import pytest
import torch

from toolchain.compared import read_compared
from toolchain.models import load_model

pytestmark = pytest.mark.slow
ONLY = ("--set", 'compare.methods=["layers","l1"]')


@pytest.fixture(scope="module")
def finished(thinwave, recipe_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "whole"
    done = thinwave("compare", recipe_file, "--out", folder, *ONLY)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def judged(folder):
    return {cell.method: cell.judged for cell in read_compared(folder).cells}


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_an_original_that_is_gone_or_damaged_is_trained_again(finished, folder, thinwave_here, recipe_file, damage):
    (original,) = (folder / "originals").iterdir()
    damage(original)
    done = thinwave_here("compare", recipe_file, "--out", folder, *ONLY)
    assert done.returncode == 0, done.stderr
    # On a CPU to the same bits, so that what was made of it still fits.
    assert judged(folder) == judged(finished)


def test_a_channel_method_is_made_again_when_its_reference_is_there_after_all(
    finished, folder, thinwave_here, recipe_file
):
    cell = "tiny.resnet1d20.seed1.macs_cut=0.6.layers"
    for kind in ("pruned", "finetuned"):
        (folder / ".thinwave" / "records" / kind / f"{cell}.json").unlink()
    # A plan that cannot be made: l1 is brought to the budget itself.
    broken = thinwave_here("compare", recipe_file, "--out", folder, *ONLY, "--replace", "--set", "plan.blocks=20")
    assert broken.returncode == 1
    assert "a number from 1 to the 9 units" in broken.stderr
    (alone,) = (cell for cell in read_compared(folder).cells if cell.method == "l1")
    assert alone.wanted == pytest.approx(0.4)
    whole = thinwave_here("compare", recipe_file, "--out", folder, *ONLY, "--replace")
    assert whole.returncode == 0, whole.stderr
    cells = {cell.method: cell for cell in read_compared(folder).cells}
    assert cells["l1"].wanted == cells["layers"].reached != pytest.approx(0.4)
    assert judged(folder) == judged(finished)


def test_another_reference_is_another_recipe(folder, refused_here, recipe_file):
    said = refused_here(
        "compare",
        recipe_file,
        "--out",
        folder,
        "--set",
        'compare.methods=["l1","taylor"]',
        "--set",
        "compare.seeds=[1]",
    )
    assert "channel methods are brought to: layers -> the budget" in said


def test_a_file_in_the_place_of_generated_frames_is_another_recipe(
    folder, refused_here, recipe_file, noise_set, tmp_path
):
    file = noise_set(tmp_path / "frames.h5", classes=tuple("abcde"), length=64)
    recipe = tmp_path / "other.toml"
    recipe.write_text(recipe_file.read_text().replace('name = "tiny"', f'name = "tiny"\nfile = "{file}"'))
    said = refused_here("compare", recipe, "--out", folder, *ONLY)
    assert "data.tiny.file: no file -> a file" in said


def test_a_level_of_sensitivity_changes_no_model(finished, folder, thinwave_here, recipe_file):
    before = {path: path.stat().st_mtime_ns for path in (folder / "models").iterdir()}
    done = thinwave_here("compare", recipe_file, "--out", folder, *ONLY, "--set", "measure.sensitivity_level=0.2")
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in (folder / "models").iterdir()} == before
    assert read_compared(folder).level == 0.2


@pytest.mark.parametrize("kind", ["thinwave's", "plain"])
def test_a_model_that_is_brought_along_is_not_trained(finished, thinwave_here, recipe_file, tmp_path, caplog, kind):
    (original,) = (finished / "originals").iterdir()
    model, card = load_model(original)
    first = read_compared(finished).originals[0]
    if kind == "plain":
        file = tmp_path / "weights.pt"
        torch.save(model.state_dict(), file)
        about = f'weights = "{file}"\nclasses = {json.dumps(list(card.classes))}'
    else:
        file = tmp_path / "trained.safetensors"
        shutil.copy(original, file)
        about = f'weights = "{file}"'
    recipe = tmp_path / "brought.toml"
    recipe.write_text(recipe_file.read_text().replace('name = "resnet1d20"', f'name = "resnet1d20"\n{about}'))
    done = thinwave_here("compare", recipe, "--out", tmp_path / "out", *ONLY)
    assert done.returncode == 0, done.stderr
    (brought,) = read_compared(tmp_path / "out").originals
    assert brought.judged == first.judged
    assert judged(tmp_path / "out") == judged(finished)
    # The frames that it was trained on are known from its file: another split would test on some of them.
    if kind == "thinwave's":
        split = ("--set", 'compare.methods=["l1"]')
        recipe.write_text(recipe.read_text().replace('name = "tiny"', 'name = "tiny"\ntrain = 0.3'))
        done = thinwave_here("compare", recipe, "--out", tmp_path / "other", *split)
        assert done.returncode == 0, done.stderr
        assert "whose frames are used as then" in caplog.text
        assert read_compared(tmp_path / "other").originals[0].frames == first.frames


def test_a_set_in_a_file_and_a_budget_of_parameters(thinwave_here, recipe_file, noise_set, tmp_path):
    file = noise_set(tmp_path / "frames.h5", classes=tuple("abcde"), length=64)
    text = recipe_file.read_text().replace(
        'name = "tiny"\nframes_per_cell = 12\n', f'name = "noise"\nfile = "{file}"\n'
    )
    text = text.replace("snr_min_db = 10\nsnr_max_db = 18\nsnr_step_db = 4\n", "snr_min_db = 0\n")
    recipe = tmp_path / "file.toml"
    recipe.write_text(text.replace("macs_cut = [0.6]", "params_cut = [0.5]"))
    both = ("--set", 'measure.runtimes=["onnxruntime","openvino"]')
    done = thinwave_here("compare", recipe, "--out", tmp_path / "out", *ONLY, *both)
    assert done.returncode == 0, done.stderr
    compared = read_compared(tmp_path / "out")
    whole = compared.originals[0].judged.params
    assert compared.originals[0].frames == {"train": 240, "validation": 80, "test": 80}
    for cell in compared.cells:
        assert cell.judged.params / whole == pytest.approx(cell.reached)
        assert cell.reached <= 0.52
        assert [each.runtime for each in cell.latency] == ["onnxruntime", "openvino"]
