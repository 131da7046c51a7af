"""A row of models, measured: what cannot be takes no other with it."""

import pytest

from deploy import machine_state
from toolchain.comparison import measuring
from toolchain.comparison.measuring import measured_row
from toolchain.comparison.recipe import MeasureTable
from toolchain.models import ModelCard, create_model, save_model

CARD = ModelCard(architecture="cnn1d", classes=tuple("abcde"), length=64)
TABLE = MeasureTable(processes=2, seconds=0.02)


@pytest.fixture
def files(tmp_path):
    model = create_model("cnn1d", classes=5, length=64)
    for name in ("original", "same", "refused"):
        save_model(tmp_path / f"{name}.safetensors", model, CARD)
    return {name: tmp_path / f"{name}.safetensors" for name in ("original", "same", "refused")}


def silent(done, total, note=""):
    pass


def test_models_of_the_same_layers_are_timed_once(files):
    found = measured_row(files, TABLE, "a run", trusted=None, progress=silent)
    assert found["same"].latency[0]["same_as"] == found["refused"].latency[0]["same_as"] == "original"
    assert found["same"].latency[0]["p50_ms"] == found["original"].latency[0]["p50_ms"]
    assert found["original"].latency[0]["times_as_fast"] == pytest.approx(1.0)


def test_what_else_runs_here_is_told(files, monkeypatch, caplog):
    for load, told in ((None, 0), (2.4, 1)):
        caplog.clear()
        monkeypatch.setattr(machine_state, "_load_average", lambda root, load=load: load)
        found = measured_row(files, TABLE, "a run", trusted=None, progress=silent)
        assert found["same"].latency[0]["load_average"] == load
        assert caplog.text.count("processes were running") == told
    assert "2.4 processes were running, 1 of them measured" in caplog.text


def test_a_file_that_a_runtime_refuses_is_named_and_the_others_are_timed(files, monkeypatch):
    write = measuring.write_model

    def written(model, card, folder, name, precision):
        path = write(model, card, folder, name, precision)
        if name == "refused":
            path.write_bytes(b"no model")
        return path

    monkeypatch.setattr(measuring, "write_model", written)
    # Each is of a shape of its own, so that each has a file.
    numbers = iter(range(9))
    monkeypatch.setattr(measuring, "shape_of", lambda card: str(next(numbers)))
    found = measured_row(files, TABLE, "a run", trusted=None, progress=silent)
    assert found["refused"].latency == []
    assert "onnxruntime cannot open" in found["refused"].refused[0]
    for name in ("original", "same"):
        assert found[name].refused == []
        assert found[name].latency[0]["same_as"] is None


def test_without_the_original_nothing_is_timed(files):
    files["original"].write_bytes(b"no model")
    found = measured_row(files, TABLE, "a run", trusted=None, progress=silent)
    assert "not a readable .safetensors file" in found["original"].refused[0]
    assert found["same"].refused == ["the original cannot be measured"]
    assert not any(timed.latency for timed in found.values())
