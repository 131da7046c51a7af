"""Power modes of a Jetson, by a program that does what nvpmodel does, in a root of its own."""

import pytest

from deploy.errors import TargetError
from deploy.machine_state import machine_state
from deploy.power_mode import in_power_mode

CONFIGURATION = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=15W >\n< POWER_MODEL ID=2 NAME=7W >\n"


@pytest.fixture
def jetson(tmp_path, monkeypatch):
    """A root whose machine is in 15W; ``7W`` cannot be set there."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(CONFIGURATION)
    status = tmp_path / "var/lib/nvpmodel/status"
    status.parent.mkdir(parents=True)
    status.write_text("pmode:0001")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "nvpmodel").write_text(
        '#!/bin/sh\n[ "$2" = 2 ] && { echo "needs a restart" >&2; exit 1; }\n'
        f'[ -f {tmp_path}/broken ] && exit 1\nprintf "pmode:%04d" "$2" > {status}\n'
    )
    (programs / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return tmp_path


def mode(root):
    return machine_state(root)["power_mode"]


def test_the_block_runs_in_the_mode_and_the_former_is_set_again(jetson):
    assert mode(jetson) == "15W"
    with in_power_mode("MAXN", jetson):
        assert mode(jetson) == "MAXN"
    assert mode(jetson) == "15W"


def test_the_former_is_set_again_after_an_error_and_an_end(jetson):
    for error in (RuntimeError, SystemExit, KeyboardInterrupt):
        with pytest.raises(error), in_power_mode("MAXN", jetson):
            raise error
        assert mode(jetson) == "15W"


def test_none_and_the_mode_that_it_is_in_set_nothing(jetson):
    (jetson / "broken").touch()
    for name in (None, "15W"):
        with in_power_mode(name, jetson):
            assert mode(jetson) == "15W"


def test_what_cannot_be_set_is_told_and_the_former_stays(jetson, caplog):
    # Also where nothing can be set, as without leave: the former was never left, and nothing is said of it.
    (jetson / "broken").touch()
    with pytest.raises(TargetError, match="MAXN: could not be set"), in_power_mode("MAXN", jetson):
        pytest.fail("it ran")
    assert mode(jetson) == "15W"
    assert not caplog.text
    (jetson / "broken").unlink()
    told = r"7W: could not be set \(needs a restart\); .*sudo nvpmodel -m 2"
    with pytest.raises(TargetError, match=told), in_power_mode("7W", jetson):
        pytest.fail("it ran")
    assert mode(jetson) == "15W"
    with pytest.raises(TargetError, match='no power mode is named "15"'), in_power_mode("15", jetson):
        pytest.fail("it ran")


def test_a_mode_that_cannot_be_set_again_is_a_warning_and_loses_nothing(jetson, caplog):
    with in_power_mode("MAXN", jetson):
        (jetson / "broken").touch()
    assert "the former power mode was not set again: power mode 15W: could not be set" in caplog.text


def test_a_machine_that_does_not_say_its_mode_is_not_changed(jetson):
    (jetson / "var/lib/nvpmodel/status").unlink()
    with pytest.raises(TargetError, match="does not say in which mode it is"), in_power_mode("MAXN", jetson):
        pytest.fail("it ran")


def test_a_machine_without_modes_says_so(tmp_path):
    with pytest.raises(TargetError, match="this machine has none"), in_power_mode("MAXN", tmp_path):
        pytest.fail("it ran")
