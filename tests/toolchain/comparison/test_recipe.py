"""What a comparison's recipe may say, and what is told of one that cannot be meant."""

import re

import pytest

from toolchain.comparison.grid import Grid
from toolchain.comparison.methods import KINDS
from toolchain.comparison.recipe import read_comparison, told
from toolchain.errors import RecipeError

LEAST = '[[data]]\nname = "d"\n[[models]]\nname = "resnet1d20"\n'


@pytest.fixture
def read(tmp_path):
    def reading(text, *assignments):
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return read_comparison(path, assignments)

    return reading


def test_data_and_models_are_enough(read):
    recipe = read(LEAST)
    assert recipe.compare.methods == tuple(KINDS)
    assert recipe.compare.against == "layers"
    assert recipe.compare.seeds == (1, 2, 3)
    assert recipe.budgets.macs_cut == (0.5, 0.75)
    assert recipe.run.threads == 1


def test_cells_are_all_combinations_and_the_reference_comes_first(read):
    text = LEAST + '[[models]]\nname = "resnet1d56"\n[compare]\nmethods = ["l1", "psr", "layers"]\nseeds = [4, 2]\n'
    grid = Grid(read(text + "[budgets]\nmacs_cut = [0.5]\nspeedup = [2.0]\n"))
    assert len(grid.cells) == 2 * 2 * 2 * 3
    assert [cell.method for cell in grid.cells[:3]] == ["layers", "l1", "psr"]
    assert [str(cell.asked) for cell in grid.cells[::3]] == ["macs_cut=0.5", "speedup=2"] * 4
    # All of one seed before the next.
    assert [cell.start.seed for cell in grid.cells] == [4] * 12 + [2] * 12
    assert len({cell.name for cell in grid.cells}) == len(grid.cells)
    assert grid.reference_cell(grid.cells[1]) == grid.cells[0]
    assert grid.reference_cell(grid.cells[0]) is None


def test_a_model_of_ones_own_has_a_file_name(read):
    grid = Grid(read('[[data]]\nname = "d"\n[[models]]\nname = "my.models:build"\n'))
    # With a hash, so that my.models_build has another.
    assert re.fullmatch(r"d\.my\.models_build\.seed1-[0-9a-f]{8}", grid.starts[0].name)


def test_two_places_that_would_have_the_same_files_are_refused(read):
    text = "".join(f'[[data]]\nname = "{name}"\n' for name in ("a", "a.b"))
    text += "".join(f'[[models]]\nname = "resnet1d20"\nlabel = "{label}"\n' for label in ("b.c", "c"))
    with pytest.raises(RecipeError, match=r"c on a\.b, seed 1 would have files of the same name, a\.b\.c\.seed1"):
        Grid(read(text)).require_names()


def test_budgets_are_told_apart_to_the_last_digit(read):
    grid = Grid(read(LEAST + "[budgets]\nmacs_cut = [0.6, 0.60000001]\nspeedup = [2.0]\n"))
    grid.require_names()
    assert {str(cell.asked) for cell in grid.cells} == {"macs_cut=0.6", "macs_cut=0.60000001", "speedup=2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "data: missing"),
        ('[[data]]\nname = "d"\n', "models: missing"),
        (
            LEAST + '[compare]\nmethods = ["layer"]\n',
            'no method is named "layer", did you mean "layers"?; there are: layers',
        ),
        (LEAST + '[compare]\nmethods = ["l1", "l2", "l1"]\n', "methods has l1 twice; leave one out"),
        (LEAST + "[compare]\nseeds = [1, 2, 1]\n", "seeds has 1 twice; leave one out"),
        (LEAST + "[compare]\nseeds = []\n", "compare.seeds"),
        (LEAST + '[compare]\nmethods = ["l1"]\nbaseline = "l2"\n', 'baseline = "l2" is none of the methods, l1'),
        (
            LEAST + '[compare]\nmethods = ["l1", "scratch"]\n',
            '"scratch" trains the shape that a method of layers leaves',
        ),
        (LEAST + "[budgets]\nmacs_cut = [1.0]\n", "budgets.macs_cut.0: got 1.0, expected less than 1"),
        (LEAST + "[budgets]\nspeedup = [1.0]\n", "budgets.speedup.0: got 1.0, expected greater than 1"),
        (LEAST + "[budgets]\nlatency_ms = [-1]\n", "budgets.latency_ms.0: got -1"),
        (LEAST + "[budgets]\nmacs_cut = [0.5, 0.5]\n", "macs_cut has 0.5 twice"),
        (LEAST + "[budgets]\n", "there is no budget"),
        (LEAST + '[[data]]\nname = "d"\n', "data: names has d twice"),
        (LEAST + '[[models]]\nname = "resnet1d20"\n', "models: labels has resnet1d20 twice"),
        (LEAST + '[[models]]\nlabel = "x"\n', 'expected name = "resnet1d56", or weights'),
        ('[[data]]\nname = "../d"\n[[models]]\nname = "resnet1d20"\n', "data.0.name"),
        (LEAST + "[plan]\nkeep = 3\n", "plan.keep: unknown key"),
        (LEAST + "[run]\nseed = 3\n", "run.seed: unknown key"),
        (LEAST + '[measure]\nruntimes = ["onnxruntime", "onnxruntime"]\n', "runtimes has onnxruntime twice"),
        (
            LEAST + "[measure]\nseconds = 8\n",
            "measure.seconds = 8 are 128 in each process for 15 methods and the original",
        ),
        (LEAST + "[finetune]\nsteps = 1\n", 'finetune.steps = 1: "sfp" halves them; expected 2 or more'),
    ],
)
def test_a_fault_is_told_by_its_key(read, text, message):
    with pytest.raises(RecipeError) as caught:
        read(text)
    assert message in str(caught.value)


def test_a_value_can_be_set_but_not_one_of_several(read):
    assert read(LEAST, "compare.seeds=[7]", "finetune.steps=3").compare.seeds == (7,)
    with pytest.raises(RecipeError, match="there may be several"):
        read(LEAST, "data.frames_per_cell=3")


def test_files_are_looked_for_beside_the_recipe_and_results_do_not_say_where(read, tmp_path):
    recipe = read('[[data]]\nname = "d"\nfile = "sub/frames.h5"\n[[models]]\nweights = "w.safetensors"\n')
    assert recipe.data[0].file == str(tmp_path / "sub" / "frames.h5")
    assert recipe.models[0].called == "w"
    values = told(recipe)
    assert values["data"][0]["file"] == "frames.h5"
    assert values["models"][0]["weights"] == "w.safetensors"
