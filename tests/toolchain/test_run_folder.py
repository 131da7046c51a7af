import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolchain.errors import RunError
from toolchain.run_folder import HASHED_WHOLE_BYTES, file_identity, key_of, opened

SETTINGS = {"plan": {"keep": 0.25, "blocks": "auto"}}
KEY = key_of(a=1)


@pytest.fixture
def folder(tmp_path):
    with opened(tmp_path / "run", SETTINGS, {}, replace=False) as made:
        yield made


def make(folder, stage="train", key=KEY, text="weights"):
    with folder.making(stage, key, ["model", "notes"]) as out:
        (out.path / "model").write_text(text)
        (out.path / "notes").mkdir()
        (out.path / "notes" / "a.txt").write_text("a")


def test_a_stage_is_finished_when_all_that_it_leaves_is_there(folder):
    assert not folder.finished("train", KEY)
    make(folder)
    assert folder.finished("train", KEY)
    assert (folder.path / "notes" / "a.txt").read_text() == "a"
    assert not folder.finished("train", key_of(a=2))
    assert not list((folder.path / ".thinwave" / "work").glob("*"))


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_an_output_that_is_not_as_it_was_left_makes_its_stage_unfinished(folder, damage):
    make(folder)
    if damage == "changed":
        (folder.path / "notes" / "a.txt").write_text("b")
    else:
        (folder.path / "model").unlink()
    assert not folder.finished("train", KEY)
    make(folder)
    assert folder.finished("train", KEY)


def test_a_stage_that_fails_leaves_nothing_but_its_checkpoint(folder):
    with pytest.raises(ValueError, match="boom"), folder.making("train", KEY, ["model"]) as out:
        (out.path / "model").write_text("half")
        (out.work / "checkpoint").write_text("epoch 3")
        raise ValueError("boom")
    assert not (folder.path / "model").exists()
    assert not folder.finished("train", KEY)
    with folder.making("train", KEY, ["model"]) as out:
        assert (out.work / "checkpoint").read_text() == "epoch 3"
        assert not list(out.path.iterdir())
        (out.path / "model").write_text("whole")


def test_an_earlier_finished_stage_stays_when_its_new_making_fails(folder):
    make(folder)
    with pytest.raises(ValueError, match="boom"), folder.making("train", key_of(a=2), ["model", "notes"]) as out:
        (out.path / "model").write_text("half")
        raise ValueError("boom")
    assert (folder.path / "model").read_text() == "weights"


def test_the_same_run_opens_again_and_another_is_refused_with_the_differences(tmp_path):
    path = tmp_path / "run"
    for _ in range(2):
        with opened(path, SETTINGS, {"data.file": "f00"}, replace=False) as folder:
            folder.take_over({"train": KEY}, {"train": ["model", "notes"]})
            make(folder)
    other = {"plan": {"keep": 0.5, "blocks": "auto"}}
    with pytest.raises(RunError) as caught, opened(path, other, {"data.file": "bad"}, replace=False):
        pass
    text = str(caught.value)
    assert "plan.keep: 0.25 -> 0.5" in text
    assert "data.file: a file of another content" in text
    assert "--replace" in text
    assert "blocks" not in text


def test_replacing_removes_what_no_longer_fits_and_keeps_the_rest(tmp_path):
    outputs = {"data": ["frames"], "train": ["model", "notes"]}
    with opened(tmp_path / "run", SETTINGS, {}, replace=False) as folder:
        with folder.making("data", key_of(d=1), ["frames"]) as out:
            (out.path / "frames").write_text("f")
        make(folder)
        folder.work("train", key_of(old=1))
    with opened(tmp_path / "run", {"plan": {"keep": 0.5}}, {}, replace=True) as folder:
        folder.take_over({"data": key_of(d=1), "train": key_of(a=2)}, outputs)
        assert folder.finished("data", key_of(d=1))
        assert not (folder.path / "model").exists()
        assert not (folder.path / "notes").exists()
        assert not list((folder.path / ".thinwave" / "work").glob("*"))


@pytest.mark.parametrize("replace", [False, True])
def test_a_folder_of_other_files_is_never_taken(tmp_path, replace):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="holds files that are no run"), opened(tmp_path, SETTINGS, {}, replace=replace):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(RunError, match="this is a file"), opened(tmp_path / "out", SETTINGS, {}, replace=False):
        pass


def test_two_processes_do_not_work_in_one_folder_and_a_dead_one_does_not_block(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from toolchain.run_folder import opened\n"
        f"with opened(Path(sys.argv[1]), {SETTINGS!r}, {{}}, replace=False):\n"
        "    print('in', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "run"], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "in\n"
        with (
            pytest.raises(RunError, match=rf"another thinwave \(process {other.pid}\) is at work"),
            opened(tmp_path / "run", SETTINGS, {}, replace=False),
        ):
            pass
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    with opened(tmp_path / "run", SETTINGS, {}, replace=False) as folder:
        make(folder)


def test_seconds_count_what_interrupted_processes_spent(folder):
    with folder.making("train", KEY, []) as out:
        out.earlier_s = 100.0
        time.sleep(0.01)
    assert 100.0 < folder.seconds("train") < 130.0


def test_a_large_file_is_known_by_samples_and_its_size(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(HASHED_WHOLE_BYTES + 10_000_000)
    before = file_identity(path)
    with path.open("r+b") as file:
        file.truncate(HASHED_WHOLE_BYTES + 10_000_001)
    longer = file_identity(path)
    with path.open("r+b") as file:
        file.write(b"x")
    assert len({before, longer, file_identity(path)}) == 3


def test_keys_depend_on_values_and_not_on_their_order():
    assert key_of(a=1, b={"x": 1, "y": 2}) == key_of(b={"y": 2, "x": 1}, a=1) != key_of(a=1, b={"x": 2, "y": 2})


def test_a_folder_whose_run_never_finished_a_stage_is_free_for_another_recipe(tmp_path):
    with opened(tmp_path / "run", SETTINGS, {}, replace=False):
        pass
    with opened(tmp_path / "run", {"plan": {"keep": 0.5}}, {}, replace=False) as folder:
        make(folder)


def test_what_somebody_else_put_in_the_way_is_not_removed(folder):
    (folder.path / "notes").mkdir()
    (folder.path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match=r"notes would be written by the stage train, but lies there already"):
        make(folder)
    assert (folder.path / "notes" / "mine.txt").read_text() == "mine"
    assert not (folder.path / "model").exists()


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_kill_between_the_renames_and_the_record_leaves_a_stage_to_make_again(folder, monkeypatch, fails_at):
    """The process ends inside the commit: after one output was renamed, and after all but before the record."""
    renames = 0
    rename = Path.rename

    def killed(self, target):
        nonlocal renames
        if "out" in self.parts:
            renames += 1
            if renames == fails_at:
                raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            make(folder)
    assert not folder.finished("train", KEY)
    make(folder, text="again")
    assert folder.finished("train", KEY)
    assert (folder.path / "model").read_text() == "again"


def test_a_kill_while_another_recipes_outputs_are_removed_leaves_nothing_in_the_way(folder, monkeypatch):
    make(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed_at("model", Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            folder.take_over({"train": key_of(a=2)}, {"train": ["model", "notes"]})
    make(folder, key=key_of(a=2), text="new")
    assert (folder.path / "model").read_text() == "new"


def killed_at(name, method):
    def killed(self, *arguments, **named):
        if self.name == name:
            raise KeyboardInterrupt
        return method(self, *arguments, **named)

    return killed


def test_a_record_that_cannot_be_read_counts_as_none_and_blocks_nothing(folder):
    make(folder)
    (folder.path / ".thinwave" / "stages" / "train.json").write_text('{"key": ')
    assert not folder.finished("train", KEY)
    make(folder, text="again")
    assert folder.finished("train", KEY)


def test_a_unit_and_all_of_the_units_are_other_recipes(tmp_path):
    with opened(tmp_path / "run", {"plan": {"keep": 1}}, {}, replace=False) as folder:
        folder.take_over({"train": KEY}, {})
        make(folder)
    with (
        pytest.raises(RunError, match=r"plan\.keep: 1 -> 1\.0"),
        opened(tmp_path / "run", {"plan": {"keep": 1.0}}, {}, replace=False),
    ):
        pass


def test_a_finished_run_without_its_recipe_is_not_overwritten(tmp_path):
    with opened(tmp_path / "run", SETTINGS, {}, replace=False) as folder:
        make(folder)
    (tmp_path / "run" / ".thinwave" / "run.json").write_text("")
    with pytest.raises(RunError, match="damaged"), opened(tmp_path / "run", SETTINGS, {}, replace=False):
        pass
    with opened(tmp_path / "run", SETTINGS, {}, replace=True) as folder:
        assert folder.finished("train", KEY)
