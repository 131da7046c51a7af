"""A comparison's folder: what counts as done, and whose it is."""

import hashlib

import pytest

from toolchain.comparison.folder import opened
from toolchain.errors import RunError
from toolchain.run_folder import opened as opened_run

SETTINGS = {"train": {"steps": 3}, "data.a": {"preset": "rml2016a"}}


def refused(path, settings, identities, message, *, replace=False):
    with pytest.raises(RunError, match=message), opened(path, settings, identities, replace=replace):
        pass


@pytest.fixture
def folder(tmp_path):
    with opened(tmp_path / "out", SETTINGS, {}, replace=False) as found:
        yield found


def test_what_is_kept_is_found_under_its_key_alone(folder):
    folder.keep("finetuned", "cell", "key", {"accuracy": 0.5}, b"model")
    found = folder.record("finetuned", "cell", "key")
    assert found == {"accuracy": 0.5, "model_sha256": hashlib.sha256(b"model").hexdigest()}
    assert folder.record("finetuned", "cell", "other") is None
    assert folder.record("finetuned", "another", "key") is None
    assert folder.model("finetuned", "cell").read_bytes() == b"model"


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"other")])
def test_a_record_whose_model_is_not_as_it_was_left_does_not_count(tmp_path, damage):
    with opened(tmp_path, SETTINGS, {}, replace=False) as folder:
        folder.keep("finetuned", "cell", "key", {}, b"model")
        damage(folder.model("finetuned", "cell"))
    with opened(tmp_path, SETTINGS, {}, replace=False) as folder:
        assert folder.record("finetuned", "cell", "key") is None


def test_one_process_at_a_time_works_in_a_folder(folder):
    path = folder.path
    # The lock is of this process: another file handle is refused, as another process is.
    with pytest.raises(RunError, match="another thinwave"), opened(path, SETTINGS, {}, replace=False):
        pass


def test_settings_that_both_have_must_agree(tmp_path):
    with opened(tmp_path, SETTINGS, {"data.a.file": "x"}, replace=False):
        pass
    refused(tmp_path, SETTINGS, {}, r"data\.a\.file: a file -> no file")
    with pytest.raises(RunError) as caught, opened(tmp_path, {"train": {"steps": 4}}, {}, replace=False):
        pass
    assert "train.steps: 3 -> 4" in str(caught.value)
    refused(tmp_path, SETTINGS, {"data.a.file": "y"}, r"data\.a\.file: a file of another content")
    # Another data set beside it, or in its stead, is more of the same.
    with opened(tmp_path, {"train": {"steps": 3}, "data.b": {"preset": "rml2018"}}, {}, replace=False):
        pass
    # What was there before is not forgotten.
    refused(tmp_path, {"data.a": {"preset": "rml2018"}}, {}, r"data\.a\.preset: rml2016a -> rml2018")
    with opened(tmp_path, {"train": {"steps": 4}}, {}, replace=True):
        pass
    with opened(tmp_path, {"train": {"steps": 4}}, {}, replace=False):
        pass


def test_a_damaged_state_is_told(tmp_path):
    with opened(tmp_path, SETTINGS, {}, replace=False):
        pass
    (tmp_path / ".thinwave" / "comparison.json").write_text("{")
    with pytest.raises(RunError, match="damaged"), opened(tmp_path, SETTINGS, {}, replace=False):
        pass


def test_runs_and_comparisons_do_not_share_a_folder(tmp_path):
    with opened(tmp_path / "comparison", SETTINGS, {}, replace=False):
        pass
    with pytest.raises(RunError, match="holds a comparison"), opened_run(tmp_path / "comparison", {}, {}, replace=True):
        pass
    with opened_run(tmp_path / "run", {}, {}, replace=False) as run:
        run.take_over({}, {})
    with pytest.raises(RunError, match="holds a run"), opened(tmp_path / "run", SETTINGS, {}, replace=True):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    refused(tmp_path / "other", SETTINGS, {}, "holds files that are no comparison", replace=True)
    refused(tmp_path / "other" / "file", SETTINGS, {}, "this is a file", replace=True)
