"""Every profile that comes with thinwave can be read, and is found under the name of its file."""

import re
from importlib import resources
from pathlib import Path, PurePath

import pytest

from deploy.names import TRTEXEC
from deploy.runtimes import RUNTIMES
from deploy.strict_reading import Strict
from deploy.target_profile import READ_HERE, Figure
from deploy.targets import list_targets, load_target
from toolchain.errors import EstimateError
from toolchain.estimates.assumed import assumed_constants

FILES = sorted(file.name for file in resources.files("targets").iterdir() if file.name.endswith(".toml"))


@pytest.mark.parametrize("name", FILES)
def test_profile_is_named_after_its_file(name):
    assert load_target(PurePath(name).stem).name == PurePath(name).stem


@pytest.mark.parametrize("name", FILES)
def test_profile_names_runtimes_that_there_are(name):
    target = load_target(PurePath(name).stem)
    assert set(target.runtimes) <= {*RUNTIMES, TRTEXEC}


def figures(value, place=""):
    """Every figure inside a profile, with its place."""
    if isinstance(value, Figure):
        yield place, value
    elif isinstance(value, Strict):
        for name in type(value).model_fields:
            yield from figures(getattr(value, name), f"{place}.{name}".lstrip("."))


@pytest.mark.parametrize("name", FILES)
def test_every_figure_says_what_it_rests_on(name):
    silent = [
        place
        for place, figure in figures(load_target(PurePath(name).stem))
        if figure.note is None and figure.source != READ_HERE
    ]
    assert silent == []


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("jetson")])
def test_computed_peaks_of_a_gpu_are_cores_times_clock_times_two(name):
    gpu = load_target(PurePath(name).stem).accelerator
    computed = gpu.cores.value * gpu.clock_mhz.value * 2 / 1e3
    assert gpu.peaks.fp32_gflops.value == pytest.approx(computed, rel=0.003)


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("jetson")])
def test_a_jetson_has_power_modes_and_jetpacks(name):
    target = load_target(PurePath(name).stem)
    first = target.power_modes[0]
    assert first.gpu_mhz in (None, target.accelerator.clock_mhz.value)
    assert all((mode.gpu_mhz or 0) <= target.accelerator.clock_mhz.value for mode in target.power_modes)
    # What the rest of the profile says is said of the first.
    assert first.cpu_mhz in (None, target.processor.clock_mhz.value)
    assert first.cores in (None, target.processor.cores.value)
    assert first.gbytes_per_s in (None, target.memory.gbytes_per_s.value)
    assert target.jetpacks


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("p3767-0000", "jetson-orin-nx-16gb"),
        ("p3767-0001", "jetson-orin-nx-8gb"),
        ("p3767-0003", "jetson-orin-nano-8gb"),
        ("p3767-0005", "jetson-orin-nano-8gb"),
        ("p3767-0004", "jetson-orin-nano-4gb"),
        ("p3701-0004", "jetson-agx-orin-32gb"),
        ("p3701-0005", "jetson-agx-orin-64gb"),
        ("p3834-0008", "jetson-thor-t5000"),
    ],
)
def test_one_profile_alone_knows_a_part_number(part, name):
    assert [target.name for target in list_targets() if part in target.identity.device_tree] == [name]


def test_every_file_is_listed():
    assert len(list_targets()) == len(FILES) > 0


def test_the_profile_in_the_readme_is_one(tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (text, more) = re.findall(r"```toml\n((?:name|processor.peaks).*?)```", readme, flags=re.DOTALL)
    assert len(text.splitlines()) <= 10
    path = tmp_path / "my-board.toml"
    path.write_text(text, encoding="utf-8")
    target = load_target(path)
    assert target.name == "my-board"
    with pytest.raises(EstimateError, match=r"does not say processor\.peaks"):
        assumed_constants(target, "onnxruntime", "fp32")
    path.write_text(text + more, encoding="utf-8")
    constants, factor = assumed_constants(load_target(path), "onnxruntime", "fp32")
    # 14.4e9 operations a second at half of that, two a multiply-accumulate.
    assert (constants.gmacs_per_s, factor) == (3.6, 3.0)
