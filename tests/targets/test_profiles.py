"""Every profile that comes with thinwave can be read, and is found under the name of its file."""

from importlib import resources
from pathlib import PurePath

import pytest

from deploy.runtimes import RUNTIMES
from deploy.targets import list_targets, load_target

FILES = sorted(file.name for file in resources.files("targets").iterdir() if file.name.endswith(".toml"))


@pytest.mark.parametrize("name", FILES)
def test_profile_is_named_after_its_file(name):
    assert load_target(PurePath(name).stem).name == PurePath(name).stem


@pytest.mark.parametrize("name", FILES)
def test_profile_names_runtimes_that_there_are(name):
    target = load_target(PurePath(name).stem)
    assert set(target.runtimes) <= set(RUNTIMES)


def test_every_file_is_listed():
    assert len(list_targets()) == len(FILES) > 0
