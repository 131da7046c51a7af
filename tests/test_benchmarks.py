"""The programs that make the README's figures start, whatever else is called as they are."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_program_tells_what_it_does(program, tmp_path):
    # From elsewhere: what is imported must be the installed packages, not what happens to lie beside the program.
    said = subprocess.run(
        [sys.executable, program, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert "usage:" in said.stdout
