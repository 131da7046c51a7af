from pathlib import Path

import pytest

from toolchain.errors import RecipeError
from toolchain.recipe import Recipe, differences, read_recipe, snrs_db, with_threads

QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.toml"


@pytest.fixture
def recipe_file(tmp_path):
    def write(text):
        path = tmp_path / "my.toml"
        path.write_text(text)
        return path

    return write


def test_an_empty_recipe_is_the_defaults(recipe_file):
    assert read_recipe(recipe_file("")) == Recipe()


def test_the_quickstart_says_what_the_defaults_say_but_for_what_it_is_there_to_set():
    quickstart, defaults = read_recipe(QUICKSTART).model_dump(), Recipe().model_dump()
    assert differences(defaults, quickstart) == ["model.name: not set -> resnet1d56", "plan.keep: not set -> 0.25"]
    assert quickstart["plan"]["keep"] == 0.25
    assert list(snrs_db(read_recipe(QUICKSTART).data)) == list(range(-6, 19, 2))


def test_every_fault_is_told_at_once_with_what_was_meant(recipe_file):
    path = recipe_file(
        "[data]\nsnr_mn_db = 3\nframes_per_cell = 'x'\n[plan]\nkeep = 'half'\nblocks = 'atuo'\n"
        "[trian]\nsteps = 2\n[finetune]\nsteps = 0\nlearning_rate = 1\n[run]\nthreads = true\n"
    )
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert str(caught.value).splitlines() == [
        f"{path}: 7 problems",
        "  run.threads: got true, expected a valid integer",
        '  data.frames_per_cell: got "x", expected a valid integer',
        '  data.snr_mn_db: unknown key, did you mean "snr_min_db"?',
        "  plan.blocks: got \"atuo\", expected 'auto' or a valid integer",
        '  plan.keep: got "half", expected a valid integer or a valid number',
        "  finetune.steps: got 0, expected greater than or equal to 1",
        '  trian: unknown key, did you mean "train"?',
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data]\nsnr_min_db = 10\nsnr_max_db = 0", "snr_min_db = 10 is above snr_max_db = 0"),
        ('[data]\nsplit = "amr-benchmark"\ntrain = 0.7', 'split = "amr-benchmark" says its shares itself'),
        ('[data]\nsplit = "halves"', "'stratified', 'amr-benchmark', 'sequential-80-20' or 'own'"),
        ("[data]\nlength = 128", "length and unknown_snr_db are for a recording in file"),
        ("[data]\ntrain = 0.8\nvalidation = 0.2", r"train \+ validation = 1 leaves nothing to test on"),
        ("[plan]\nkeep = 1.5", "plan.keep: got 1.5"),
        ("[plan]\nframes = 7", "plan.frames: got 7, expected greater than or equal to 8"),
        ("[plan]\nframes = 4097", "plan.frames: got 4097, expected less than or equal to 4096"),
        ("[plan]\nkeep = nan", "plan.keep"),
        ("plan = 3", "plan: got 3"),
        ("[train]\nlearning_rate = -1", "train.learning_rate: got -1"),
        ("[train]\nema = 1", "train.ema: got 1"),
        ("[run]\naccelerator = 'tpu'", "run.accelerator: got \"tpu\", expected 'auto', 'cpu' or 'gpu'"),
        ("[run]\nprecision = '16'", "'32-true', 'bf16-mixed' or '16-mixed'"),
        (
            "[profile]\nprecision = 'int8'\n[export]\nprecisions = ['fp32']",
            '= "int8" is none of export.precisions, fp32; add it',
        ),
        ("[run]\ndevices = 0", "run.devices: got 0"),
        ("steps = 3", "steps: unknown key"),
        ("[train", "not a TOML file"),
    ],
)
def test_what_cannot_be_meant_is_refused(recipe_file, text, message):
    with pytest.raises(RecipeError, match=message):
        read_recipe(recipe_file(text))


def test_a_recipe_that_is_missing_a_folder_or_no_text_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="there is no such recipe"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match="this is a folder"):
        read_recipe(tmp_path)
    (tmp_path / "x.toml").write_bytes(b"\x80\x02}q\x00")
    with pytest.raises(RecipeError, match="this is no text"):
        read_recipe(tmp_path / "x.toml")


def test_assignments_change_values_as_toml_or_as_plain_text(recipe_file):
    changes = [
        "plan.keep=7",
        "plan.blocks = auto",
        'model.name="resnet1d20"',
        "train.rotate=false",
        "train.learning_rate=1e-3",
    ]
    recipe = read_recipe(recipe_file("[plan]\nkeep = 0.5\nframes = 100"), changes)
    assert (recipe.plan.keep, recipe.plan.frames, recipe.plan.blocks) == (7, 100, "auto")
    assert (recipe.model.name, recipe.train.rotate, recipe.train.learning_rate) == ("resnet1d20", False, 1e-3)


@pytest.mark.parametrize("text", ["keep=3", "plan.keep", "plan.=3", ".keep=3", "a.b.c=3"])
def test_an_assignment_of_another_form_is_refused_with_an_example(recipe_file, text):
    with pytest.raises(RecipeError, match=r"expected table.key=value, for example --set plan.keep=0.5"):
        read_recipe(recipe_file(""), [text])


def test_an_assignment_to_an_unknown_key_is_refused_as_in_the_file(recipe_file):
    with pytest.raises(RecipeError, match=r'plan\.kep: unknown key, did you mean "keep"'):
        read_recipe(recipe_file(""), ["plan.kep=3"])


def test_files_are_relative_to_the_recipe_and_in_assignments_to_the_working_directory(
    recipe_file, monkeypatch, tmp_path
):
    path = recipe_file("[data]\nfile = 'sub/frames.pkl'")
    assert read_recipe(path).data.file == str(tmp_path / "sub" / "frames.pkl")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    recipe = read_recipe(path, ["data.file=mine.pkl", "model.weights=/w.pt"])
    assert recipe.data.file == str(tmp_path / "elsewhere" / "mine.pkl")
    assert recipe.model.weights == "/w.pt"


def test_a_recipe_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Recipe().plan.keep = 3


def test_no_threads_means_all_that_this_process_may_use(monkeypatch):
    every = Recipe.model_validate({"run": {"threads": 0}})
    monkeypatch.setattr("toolchain.recipe.usable_cores", lambda: [0, 1, 5])
    for quota, threads in ((None, 3), ("unlimited", 3), (2.5, 2), (0.5, 1), (8.0, 3)):
        monkeypatch.setattr("toolchain.recipe.cpu_quota_cores", lambda quota=quota: quota)
        assert with_threads(every).run.threads == threads
    kept = Recipe.model_validate({"run": {"threads": 2}})
    assert with_threads(kept) == kept


def test_differences_name_the_key_and_both_values():
    before = Recipe().model_dump()
    after = Recipe.model_validate({"plan": {"keep": 0.5}, "run": {"seed": 7}}).model_dump()
    assert differences(before, after) == ["run.seed: 1 -> 7", "plan.keep: not set -> 0.5"]


def test_a_plan_has_one_budget_and_a_quarter_of_the_units_by_default(recipe_file):
    assert Recipe().plan.budget == {"keep": 0.25}
    assert read_recipe(recipe_file("[plan]\nmacs_cut = 0.85\n")).plan.budget == {"macs_cut": 0.85}
    # On the command line one budget takes the place of the recipe's.
    assert read_recipe(QUICKSTART, ["plan.params_cut=0.7"]).plan.budget == {"params_cut": 0.7}
    with pytest.raises(RecipeError, match="keep and macs_cut are budgets, of which there is one"):
        read_recipe(recipe_file("[plan]\nkeep = 3\nmacs_cut = 0.85\n"))
    with pytest.raises(RecipeError, match='score = "medoid" has no direction'):
        read_recipe(recipe_file('[plan]\nscore = "medoid"\ndirection = "min"\n'))
