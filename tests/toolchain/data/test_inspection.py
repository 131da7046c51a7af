from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from toolchain.data import open_dataset
from toolchain.data.generator import PRESETS, generate
from toolchain.data.inspection import Inspection, inspect_dataset
from toolchain.data.snr_estimate import MeasuredSnr
from toolchain.report.inspection_text import show_inspection


def shown(inspection: Inspection) -> str:
    text = io.StringIO()
    show_inspection(Console(file=text, width=200, color_system=None), inspection)
    return text.getvalue()


def test_good_set_gives_no_warning(make):
    inspection = inspect_dataset(make())
    assert inspection.warnings == ()
    assert inspection.counts.tolist() == [[10, 10]] * 3
    assert (inspection.per_cell_min, inspection.per_cell_max) == (10, 10)
    assert inspection.snr_db == (-2, 10)
    assert inspection.fingerprint == make().fingerprint


@pytest.mark.parametrize("preset", list(PRESETS))
def test_generated_sets_give_no_warning(preset, make):
    kind = PRESETS[preset]
    made = generate(preset, frames_per_cell=8, snr_db=[-8, 6, 18], seed=2)
    dataset = make(
        made.iq, classes=kind.classes, labels=made.label, snr_db=made.snr_db, sample_rate_hz=kind.sample_rate_hz
    )
    inspection = inspect_dataset(dataset)
    assert inspection.warnings == ()
    assert inspection.scaling.convention == "unit RMS"


def test_real_format_file_gives_no_warning(real_file):
    inspection = inspect_dataset(open_dataset(real_file))
    assert inspection.warnings == ()
    assert inspection.scaling.convention == "sum of magnitudes 1"
    assert "80 frames in each of 11 x 20 cells" in shown(inspection)


def test_json_has_plain_values_only(make, noise):
    iq = noise(60)
    iq[5] = np.nan
    iq[6] *= np.finfo(np.float32).max / np.abs(iq[6]).max()
    iq[6, :, 0] = np.finfo(np.float32).max  # a magnitude that float32 has not
    values = inspect_dataset(make(iq, snr_db=np.full(60, 2.1))).to_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["snr_db"] == [2.1]
    assert values["per_cell"] == [[20]] * 3
    assert values["nonfinite_frames"] == 1
    assert {"format", "frames", "length", "classes", "per_cell_min", "per_cell_max", "fingerprint"} <= values.keys()
    assert values["scaling"]["rms_max"] == pytest.approx(np.finfo(np.float32).max / 3, rel=0.5)
    assert values["measured_snr_db"] == [[None]] * 3


def test_set_without_frames_says_so(make, noise):
    inspection = inspect_dataset(make(noise(0), labels=np.empty(0, "i8"), snr_db=np.empty(0)))
    assert inspection.per_cell_min == inspection.per_cell_max == 0
    assert inspection.warnings == ("The set has no frames: there is nothing to train on or to test",)
    json.dumps(inspection.to_json(), allow_nan=False)
    assert "0 of 64 samples" in shown(inspection)


@pytest.mark.parametrize(
    ("scale", "convention"),
    [
        (lambda x: x / np.sqrt((np.abs(x) ** 2).mean(1, keepdims=True)), "unit RMS"),
        (lambda x: x / np.abs(x).sum(1, keepdims=True), "sum of magnitudes 1"),
        (lambda x: x / np.linalg.norm(x, axis=1, keepdims=True), "sum of squared magnitudes 1"),
        (lambda x: x / np.abs(x).max(1, keepdims=True), "unit peak"),
        (lambda x: x / np.maximum(abs(x.real), abs(x.imag)).max(1, keepdims=True), "unit peak of I and Q"),
        (lambda x: x * 3, "none recognised"),
    ],
)
def test_scaling_conventions_are_recognised(scale, convention, make, noise):
    iq = noise(60)
    scaled = scale(iq[:, 0] + 1j * iq[:, 1])
    found = inspect_dataset(make(np.stack([scaled.real, scaled.imag], axis=1).astype(np.float32)))
    assert found.scaling.convention == convention
    assert found.warnings == ()


def test_integers_are_named_by_their_largest(make, noise):
    iq = np.rint(noise(60) * 5000)
    iq[7, 1, 3] = -32767
    assert inspect_dataset(make(iq)).scaling.convention == "integers up to 32767"


def test_rms_of_frames_by_hand(make):
    iq = np.zeros((60, 2, 4), dtype=np.float32)
    iq[:, 0] = [3, -3, 3, -3]
    iq[:, 1] = np.arange(1, 61)[:, None] * [1e-6, -1e-6, 1e-6, -1e-6] + np.array([4, -4, 4, -4])
    scaling = inspect_dataset(make(iq)).scaling
    assert scaling.rms_median == pytest.approx(5, rel=1e-4)  # sqrt(3^2 + 4^2)


def test_unequal_cells_are_told_and_shown(make, noise):
    labels = np.repeat([0, 0, 1], [10, 2, 5])
    snr_db = np.repeat([-2.0, 10.0, -2.0], [10, 2, 5])
    inspection = inspect_dataset(make(noise(17), labels=labels, snr_db=snr_db))
    assert (inspection.per_cell_min, inspection.per_cell_max) == (0, 10)
    text = shown(inspection)
    assert "0 to 10 frames in each of 3 x 2 cells (class x SNR), 3 empty" in text
    assert [line.split() for line in text.splitlines() if line.startswith("QPSK")] == [["QPSK", "5", "0"]]
    assert text.index("frames at dB") > text.rindex("warning ")


@pytest.mark.parametrize(("fewest", "table"), [(10, False), (7, False), (6, True)])
def test_table_of_cells_is_for_large_differences(fewest, table, make, noise):
    counts = [10, 10, fewest, 10]
    dataset = make(
        noise(sum(counts)), classes=("a", "b"), labels=np.repeat([0, 0, 1, 1], counts),
        snr_db=np.repeat([-2.0, 10.0, -2.0, 10.0], counts),
    )  # fmt: skip
    text = shown(inspect_dataset(dataset))
    assert ("frames at dB" in text) == table
    assert "empty" not in text


@pytest.mark.parametrize(
    ("rate_hz", "said"),
    [(1e6, "1 MHz"), (2.4e6, "2.4 MHz"), (200e3, "200 kHz"), (44100, "44.1 kHz"), (50, "50 Hz"), (1e9, "1 GHz"),
     (1_234_567, "1.234567 MHz"), (None, "sample rate unknown")],
)  # fmt: skip
def test_sample_rates_are_in_their_unit(rate_hz, said, make):
    assert f"60 of 64 samples, {said}\n" in shown(inspect_dataset(make(sample_rate_hz=rate_hz)))


def test_one_of_a_kind_is_singular(make, noise):
    one = make(noise(1, length=1), classes=("BPSK",), labels=np.zeros(1, "i8"), snr_db=np.zeros(1))
    lines = [line.split(maxsplit=1) for line in shown(inspect_dataset(one)).splitlines()[:5]]
    assert dict(lines[1:]) == {
        "frame": "1 of 1 sample, 1 MHz",
        "class": "1: BPSK",
        "SNR": "0 dB",
        "cells": "1 frame in 1 cell (class x SNR)",
    }


def test_row_of_measured_snrs_and_warning_tell_of_the_same_cells(real_file):
    dataset = open_dataset(real_file)
    right = shown(inspect_dataset(dataset))
    assert re.search(
        r"measured +[+-]0\.\d dB from the label: median of \d+ of 165 cells with labels from -10 to 20 dB", right
    )
    inspection = inspect_dataset(replace(dataset, snr_db=dataset.snr_db + np.float32(9)))
    (warning,) = inspection.warnings
    row = re.search(r"measured +(-\d.\d) dB from the label: median of (\d+) of", shown(inspection))
    assert row is not None
    assert f"in {row[2]} cells" in warning
    assert f"{-float(row[1]):.1f} dB below the label" in warning


def test_measured_cells_that_are_not_judged_are_told_apart(make):
    labels_db = np.array([30.0, 40.0])
    snr = MeasuredSnr(labels_db=labels_db, measured_db=np.full((3, 2), 20.0), spread_db=np.full((3, 2), 6.0))
    text = shown(replace(inspect_dataset(make()), measured_snr=snr))
    assert "not compared: noise shows beside a signal only in cells with labels outside -10 to 20 dB" in text


def test_terminal_summary_needs_neither_torch_nor_matplotlib():
    code = "import sys, toolchain.report.inspection_text; print({'torch', 'matplotlib'} & sys.modules.keys())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


def test_terminal_takes_names_for_text(make):
    text = shown(inspect_dataset(make(classes=("[red]a", "b[/]", "c"), source="[bold].h5")))
    assert "[red]a, b[/], c" in text
    assert "[bold].h5" in text
    assert "No warnings." in text
