import errno
import json

import click
import pytest

from deploy.command_line import JsonCommand, json_option, run_command_line, write_json
from deploy.errors import BundleError


def command_that(does):
    @click.command()
    @click.option("--count", type=int)
    def command(count):
        does()

    return command


def raising(error):
    def does():
        raise error

    return command_that(does)


def test_command_that_ends_well_is_code_zero():
    assert run_command_line(command_that(lambda: None), []) == 0


def test_users_mistake_is_one_message_and_code_two(capsys):
    assert run_command_line(raising(BundleError("out/x: [bold]damaged[/bold]")), []) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "thinwave: error: out/x: [bold]damaged[/bold]\n"


def test_errors_of_another_package_can_be_named(capsys):
    class ExportError(Exception):
        pass

    with pytest.raises(ExportError):
        run_command_line(raising(ExportError("no")), [])
    assert run_command_line(raising(ExportError("no")), [], user_errors=(ExportError,)) == 2
    assert capsys.readouterr().err == "thinwave: error: no\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.ENOENT])
def test_files_that_the_user_can_mend_are_told(capsys, code):
    assert run_command_line(raising(OSError(code, "reason", "a/file")), []) == 2
    assert capsys.readouterr().err == "thinwave: error: a/file: reason\n"


@pytest.mark.parametrize(
    "error", [OSError(errno.EBADF, "ours"), ValueError("ours"), KeyError("ours"), EOFError("ours")]
)
def test_our_own_mistakes_are_not_hidden(error):
    with pytest.raises((type(error), click.Abort)) as caught:
        run_command_line(raising(error), [])
    assert "ours" in repr(caught.value) + repr(caught.value.__cause__)


def test_ctrl_c_is_code_130_and_no_traceback(capsys):
    assert run_command_line(raising(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err.strip() == "thinwave: stopped"


def test_wrong_usage_is_told_with_the_usage(capsys):
    assert run_command_line(command_that(lambda: None), ["--count", "many"], program="tool") == 2
    told = capsys.readouterr().err
    assert told.startswith("thinwave: error: Invalid value for '--count': 'many' is not a valid integer")
    assert "Usage: tool [OPTIONS]" in told


def test_group_without_a_command_shows_its_help(capsys):
    assert run_command_line(click.Group("tool", commands=[command_that(lambda: None)]), []) in (0, 2)
    captured = capsys.readouterr()
    assert "Commands:" in captured.out + captured.err


def test_help_is_code_zero(capsys):
    assert run_command_line(command_that(lambda: None), ["--help"]) == 0
    assert "--count" in capsys.readouterr().out


@click.command()
@json_option
def jsonic(json_path):
    write_json(json_path, {"µ": [1, None]})


def test_json_goes_to_stdout_or_a_file(capsys, tmp_path):
    assert run_command_line(jsonic, ["--json", "-"]) == 0
    text = capsys.readouterr().out
    assert text == '{\n  "µ": [\n    1,\n    null\n  ]\n}\n'
    assert run_command_line(jsonic, ["--json", str(tmp_path / "out.json")]) == 0
    assert (tmp_path / "out.json").read_text() == text


@click.command(cls=JsonCommand)
@click.argument("file")
@json_option
def about(file, json_path):
    write_json(json_path or "-", {"file": file, "json": json_path})


@pytest.mark.parametrize("arguments", [["set.h5", "--json"], ["--json", "set.h5"], ["--json", "-", "set.h5"]])
def test_json_without_a_file_goes_to_stdout_wherever_it_stands(capsys, arguments):
    assert run_command_line(about, arguments) == 0
    assert json.loads(capsys.readouterr().out) == {"file": "set.h5", "json": "-"}


def test_json_is_not_written_over_what_is_no_json(capsys, tmp_path):
    mine, out = tmp_path / "set.h5", tmp_path / "out.json"
    mine.write_bytes(b"\x89HDF")
    out.write_text('{"old": 1}')
    assert run_command_line(about, ["--json", str(mine), "other.h5"]) == 2
    assert capsys.readouterr().err.startswith("thinwave: error: ")
    assert run_command_line(about, ["other.h5", "--json", str(mine)]) == 2
    assert "is there already and is no JSON" in capsys.readouterr().err
    assert mine.read_bytes() == b"\x89HDF"
    assert run_command_line(about, ["--json", str(out), "other.h5"]) == 0
    assert json.loads(out.read_text())["file"] == "other.h5"
    assert run_command_line(about, ["--json"]) == 2
    assert "Missing argument 'FILE'" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["", "nowhere/out.json"])
def test_json_file_that_cannot_be_written_is_refused_before_the_work(capsys, tmp_path, place):
    assert run_command_line(jsonic, ["--json", str(tmp_path / place)]) == 2
    assert ("there is no folder" if place else "is a folder") in capsys.readouterr().err
