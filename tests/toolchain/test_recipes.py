"""The recipes that come with thinwave say what can be done."""

import json
from itertools import product
from pathlib import Path

import pytest

from toolchain.comparison.recipe import ComparisonRecipe, read_comparison
from toolchain.models import build_model
from toolchain.recipe import read_recipe
from toolchain.stages.plan import require_plannable

RECIPES = Path(__file__).parents[2] / "recipes"
# Of the set's classes and samples a frame.
SETS = {
    "rml2016.10a": (11, 128),
    "rml2016.10a-high": (11, 128),
    "hkdd-amc12": (12, 512),
    "hkdd-amc12-high": (12, 512),
    "rml2018.01a-high": (24, 1024),
}
MODELS = ("resnet56", "resnet110", "vgg16")


@pytest.mark.parametrize(("data", "model"), list(product(SETS, MODELS)))
def test_each_of_the_papers_sets_and_models_has_a_recipe_whose_budget_can_be_met(data, model):
    recipe = read_recipe(RECIPES / f"{data}-{model}.toml")
    assert recipe.model.name == model
    classes, length = SETS[data]
    require_plannable(recipe.plan, build_model(model, classes, length), length)
    assert (recipe.data.snr_min_db >= 10) == data.endswith("-high")


def test_there_are_no_other_recipes():
    there = {path.stem for path in RECIPES.glob("*.toml")}
    assert there == {
        "quickstart",
        "compare",
        "compare-paper",
        *(f"{data}-{model}" for data, model in product(SETS, MODELS)),
    }


def test_the_comparison_says_every_key_and_its_default():
    recipe = read_comparison(RECIPES / "compare.toml")
    written = recipe.model_dump()
    defaults = ComparisonRecipe(data=recipe.data, models=recipe.models).model_dump()
    # What is not the default is there to be quick.
    differing = {
        f"{table}.{key}"
        for table in defaults
        if table not in ("data", "models")
        for key in defaults[table]
        if written[table][key] != defaults[table][key]
    }
    assert differing == {"budgets.macs_cut", "finetune.steps", "compare.baseline"}
    text = (RECIPES / "compare.toml").read_text()
    for table in ("compare", "budgets", "train", "finetune", "plan", "measure", "run"):
        for key in defaults[table]:
            assert f"{key} = " in text or key == "units"


def test_the_papers_comparison_names_its_five_sets_and_three_models():
    recipe = read_comparison(RECIPES / "compare-paper.toml")
    assert [table.name for table in recipe.data] == list(SETS)
    assert [table.called for table in recipe.models] == list(MODELS)


@pytest.mark.parametrize("data", SETS)
def test_the_papers_comparison_uses_each_set_as_its_own_recipes_do(data):
    (table,) = (one for one in read_comparison(RECIPES / "compare-paper.toml").data if one.name == data)
    for model in MODELS:
        assert table.model_dump(exclude={"name"}) == read_recipe(RECIPES / f"{data}-{model}.toml").data.model_dump()


@pytest.mark.slow
def test_a_recipe_of_the_paper_runs_on_a_file_of_its_format(thinwave, real_file, tmp_path):
    small = {"data.file": json.dumps(str(real_file)), "train.steps": 2, "finetune.steps": 2, "plan.frames": 32}
    small |= {"export.precisions": '["fp32"]', "profile.processes": 2, "profile.seconds": 0.05}
    changes = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    done = thinwave("run", RECIPES / "rml2016.10a-high-resnet56.toml", "--out", tmp_path / "run", *changes)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    # 11 classes at 5 SNRs, 80 frames a cell: 56 train, 8 validate, 16 test.
    assert results["dataset"]["frames"] == {"train": 3080, "validation": 440, "test": 880}
    assert results["models"]["pruned"]["macs"] <= 0.1 * results["models"]["original"]["macs"]
