from pathlib import Path

import pytest

from toolchain.errors import RunError
from toolchain.report.comparison.writing import write_report

FILES = ["report.html", "report.md", "report.csv", "report.json"]


def test_four_files_and_nothing_else(make, tmp_path):
    paths = write_report([make.compared()], tmp_path / "new" / "out")
    assert [path.name for path in paths] == FILES
    assert {path.name for path in (tmp_path / "new" / "out").iterdir()} == set(FILES)


def test_a_report_that_cannot_be_written_leaves_the_one_of_before(make, tmp_path, monkeypatch):
    write_report([make.compared()], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_text = Path.write_text

    def full(path, *arguments, **options):
        if path.name == ".report.json.partial":
            raise OSError(28, "No space left on device")
        return write_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RunError, match="No space left on device"):
        write_report([make.compared()], tmp_path, baseline="l1")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_in_the_way_is_named(make, tmp_path):
    (tmp_path / "report.md").mkdir()
    with pytest.raises(RunError, match=r"report\.md is a folder"):
        write_report([make.compared()], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be made a folder"):
        write_report([make.compared()], tmp_path / "file")
