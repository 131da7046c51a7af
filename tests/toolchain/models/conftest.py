"""A model that is not thinwave's."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = """
import torch

class Tied(torch.nn.Module):
    def __init__(self, classes=4, length=128):
        super().__init__()
        self.first, self.second = (torch.nn.Linear(2 * length, 2 * length) for _ in range(2))
        self.second.weight = self.first.weight
        self.head = torch.nn.Linear(2 * length, classes)

    def forward(self, iq):
        return self.head(self.second(self.first(iq.flatten(1)).relu()))
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a factory of a user's own, whose model uses one matrix twice; it can be imported in the test alone."""
    (tmp_path / "somebodys.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "somebodys:Tied"
    sys.modules.pop("somebodys", None)
