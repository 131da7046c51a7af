"""What the wheel holds."""

from pathlib import Path

from toolchain.recipe import tomllib

ROOT = Path(__file__).parents[1]


def test_every_package_of_the_tree_is_in_the_wheel():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for top in ("toolchain", "deploy", "targets")
        for init in (ROOT / top).rglob("__init__.py")
    }
    # recipes/ stands at the top of the tree and travels inside toolchain.
    assert listed == found | {"toolchain.recipes"}
