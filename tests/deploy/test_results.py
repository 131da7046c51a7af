import json

import pytest
from pydantic import ValidationError

from deploy.errors import MeasurementError
from deploy.results import LatencyRecord, Ratio

RECORD = {
    "target": "x86-cpu",
    "runtime": "onnxruntime",
    "runtime_version": "1.19.0",
    "precision": "fp32",
    "batch": 1,
    "threads": 1,
    "p50_ms": 0.2,
    "p90_ms": 0.25,
    "p95_ms": 0.26,
    "p99_ms": 0.4,
    "max_ms": 3.0,
    "runs": 1024,
    "kind": "measured",
    "conditions": {"governor": None, "affinity": [1]},
}


def test_record_is_equal_after_json_with_the_same_keys_in_the_same_order():
    record = LatencyRecord.from_json(RECORD)
    text = json.dumps(record.to_json())
    assert list(json.loads(text).items()) == list(RECORD.items())
    assert LatencyRecord.from_json(json.loads(text)) == record


def test_record_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        LatencyRecord.from_json(RECORD).p50_ms = 0.1


def test_ratio_is_equal_after_json():
    ratio = Ratio(ratio=2.0, low=1.9, high=2.1)
    assert ratio.to_json() == {"ratio": 2.0, "low": 1.9, "high": 2.1}
    assert Ratio.from_json(ratio.to_json()) == ratio


def test_estimated_figure_is_no_measured_record():
    with pytest.raises(MeasurementError, match=r'^results.json: kind: got "estimated", expected \'measured\''):
        LatencyRecord.from_json({**RECORD, "kind": "estimated"}, where="results.json")


def test_unknown_precision_and_missing_key_are_told_together():
    wrong = {**RECORD, "precision": "fp8"}
    del wrong["runs"]
    with pytest.raises(MeasurementError, match=r"(?s)2 problems.*fp8.*runs: missing"):
        LatencyRecord.from_json(wrong)
