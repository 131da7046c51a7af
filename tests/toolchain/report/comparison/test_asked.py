from toolchain.comparison.grid import Grid
from toolchain.comparison.recipe import ComparisonRecipe, told
from toolchain.report.comparison.asked import asked_of


def test_what_was_asked_for_is_the_grid_of_the_recipe(make):
    recipe = ComparisonRecipe.model_validate(
        {
            "compare": {"methods": ("layers", "l1"), "seeds": (1, 4)},
            "budgets": {"macs_cut": (0.5, 0.12345678), "speedup": (2.0,), "latency_ms": (0.1,)},
            "data": ({"preset": "rml2016a", "name": "made"}, {"preset": "rml2016a", "name": "again"}),
            "models": (
                {"name": "resnet1d56"},
                {"weights": "own.safetensors"},
                {"name": "resnet1d20", "label": "small"},
            ),
        }
    )
    expected = {}
    for cell in Grid(recipe).cells:
        place = (cell.start.data, cell.start.model, str(cell.asked))
        expected.setdefault(place, {}).setdefault(cell.method, []).append(cell.start.seed)
    found = asked_of([make.compared(recipe=told(recipe))])
    originals = {place: methods for place, methods in found.items() if place[-1] == "none"}
    assert {place: methods for place, methods in found.items() if place not in originals} == {
        place: {method: tuple(seeds) for method, seeds in methods.items()} for place, methods in expected.items()
    }
    assert set(originals) == {(start.data, start.model, "none") for start in Grid(recipe).starts}
    assert {tuple(methods.items()) for methods in originals.values()} == {(("original", (1, 4)),)}


def test_two_comparisons_ask_for_both_and_a_recipe_that_tells_nothing_for_nothing(make):
    one, other = make.recipe(["layers"]), make.recipe(["layers", "l1"])
    other["compare"]["seeds"] = [4]
    found = asked_of([make.compared(recipe=one), make.compared(recipe=other)])
    assert found["tiny", "net", "macs_cut=0.5"] == {"layers": (1, 2, 3, 4), "l1": (4,)}
    assert asked_of([make.compared(recipe={"compare": 3, "data": {}, "models": [1]})]) == {}
