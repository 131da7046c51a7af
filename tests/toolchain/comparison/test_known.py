"""What is kept counts for as long as what it was made from is the same."""

from types import SimpleNamespace

import pytest

from toolchain.comparison.folder import opened
from toolchain.comparison.grid import Grid
from toolchain.comparison.known import Known
from toolchain.comparison.recipe import ComparisonRecipe
from toolchain.stages.run import use_asked


@pytest.fixture
def known(tmp_path):
    """What is known where a model is brought along, and the frames are those of a file of an ``identity``."""
    tables = {
        "compare": {"methods": ("layers", "taylor"), "seeds": (1,)},
        "data": [{"name": "d", "file": "frames.h5"}],
        "models": [{"name": "resnet1d20", "weights": "w.pt"}],
    }
    grid = Grid(ComparisonRecipe.model_validate(tables, strict=False))
    use = use_asked(grid.recipe.data[0], 1)

    with opened(tmp_path / "out", {}, {}, replace=False) as folder:

        def of(identity):
            beforehand = SimpleNamespace(
                identities={"data.d.file": identity, "models.resnet1d20.weights": "the same"},
                frames={start: SimpleNamespace(use=use) for start in grid.starts},
                runtimes={"onnxruntime": "1"},
                processor=None,
            )
            return Known(grid, folder, beforehand)

        yield of


def test_plans_on_other_frames_are_made_anew_though_the_model_is_the_same(known):
    keys = {}
    for frames in ("these", "others", "these again"):
        found = known(frames.split()[0])
        (start,) = found.grid.starts
        found.folder.keep("original", start.name, found.original_key(start), {"shape": "s"}, b"the same model")
        keys[frames] = [found.pruned_key(cell) for cell in found.grid.cells]
    assert keys["these"] == keys["these again"]
    assert None not in keys["these"]
    assert not set(keys["these"]) & set(keys["others"])
