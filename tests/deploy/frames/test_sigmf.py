from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import sigmf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.errors import DatasetError
from deploy.frames.sigmf import open_sigmf

DATATYPES = ["cf32_le", "cf32_be", "cf64_le", "cf64_be", "ci8", "cu8"] + [
    f"c{kind}{bits}_{order}" for kind in "iu" for bits in (16, 32) for order in ("le", "be")
]


def annotation(start, count, label="QPSK", snr_db=10, **fields):
    given = {
        "core:sample_start": start,
        "core:sample_count": count,
        "core:label": label,
        "capture_details:SNRdB": snr_db,
        **fields,
    }
    return {name: value for name, value in given.items() if value is not None}


def ramp(count=40):
    """Sample n is n - 100n i: a frame shows where it was taken."""
    return np.stack([np.arange(count), -100 * np.arange(count)], axis=1).astype("<f4")


def ramp_frame(start, length=4):
    n = np.arange(start, start + length)
    return np.stack([n, -100 * n]).tolist()


@pytest.fixture
def record(tmp_path):
    def write(annotations=(), *, samples=None, captures=(), data=None, name="rec", **fields) -> Path:
        common = {"core:datatype": "cf32_le", "core:version": "1.2.0"}
        for key, value in fields.items():
            common[f"core:{key}"] = value
        meta = {"global": common, "captures": list(captures), "annotations": list(annotations)}
        (tmp_path / f"{name}.sigmf-meta").write_text(json.dumps(meta))
        content = (ramp() if samples is None else samples).tobytes() if data is None else data
        (tmp_path / f"{name}.sigmf-data").write_bytes(content)
        return tmp_path / f"{name}.sigmf-meta"

    return write


def assert_refused(path, match, **options):
    with pytest.raises(DatasetError, match=match) as caught:
        open_sigmf(path, **{"length": 4, **options})
    message = str(caught.value)
    assert message.startswith("rec.sigmf-")
    assert message.isprintable()
    assert len(message) < 600


def test_annotations_are_cut_into_frames(record):
    path = record([annotation(0, 10), annotation(10, 8, "BPSK", -2.5), annotation(21, 11)], sample_rate=2e6)
    dataset = open_sigmf(path, length=4)
    assert dataset.classes == ("BPSK", "QPSK")
    # 10 samples give two frames of 4, 8 two, 11 two.
    assert dataset.labels.tolist() == [1, 1, 0, 0, 1, 1]
    assert dataset.snr_db.tolist() == [10, 10, -2.5, -2.5, 10, 10]
    assert dataset.frames(np.arange(6)).tolist() == [ramp_frame(start) for start in (0, 4, 10, 14, 21, 25)]
    assert (dataset.source, dataset.format, dataset.length) == ("rec.sigmf-meta", "sigmf", 4)
    assert dataset.sample_rate_hz == 2e6


def test_either_name_finds_the_other(record):
    path = record([annotation(0, 40)])
    assert open_sigmf(path.with_suffix(".sigmf-data"), length=4).fingerprint == open_sigmf(path, length=4).fingerprint


def test_frames_are_1024_samples_unless_told(record):
    path = record([annotation(0, 3000)], samples=ramp(3000))
    dataset = open_sigmf(path)
    assert (len(dataset), dataset.length) == (2, 1024)
    assert dataset.block_frames == 32


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_is_read_unscaled(datatype, record):
    kind, bits = datatype[1], int(datatype[2:].split("_")[0])
    stored = np.dtype(f"{'>' if datatype.endswith('be') else '<'}{kind}{bits // 8}")
    rng = np.random.default_rng(3)
    if kind == "f":
        numbers, middle = rng.normal(size=(16, 2)).astype(stored), 0.0
    else:
        limits = np.iinfo(stored)
        numbers = rng.integers(limits.min, limits.max, size=(16, 2), endpoint=True).astype(stored)
        numbers[0], numbers[1] = limits.min, limits.max
        middle = 2.0 ** (bits - 1) if kind == "u" else 0.0
    path = record([annotation(0, 16)], samples=numbers, datatype=datatype)
    frames = open_sigmf(path, length=4).frames(np.arange(4))
    expected = (numbers.astype("f8") - middle).astype("f4").reshape(4, 4, 2).transpose(0, 2, 1)
    np.testing.assert_array_equal(frames, expected)
    # The library of the standard scales integers to -1 to 1.
    theirs = sigmf.fromfile(str(path), skip_checksum=True).read_samples() * (1 if kind == "f" else 2.0 ** (bits - 1))
    ours = frames[:, 0].ravel() + 1j * frames[:, 1].ravel()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=256 if bits == 32 and kind == "u" else 0)


def test_unsigned_samples_are_centred(record):
    path = record([annotation(0, 2)], samples=np.array([[0, 255], [128, 127]], dtype="u1"), datatype="cu8")
    assert open_sigmf(path, length=2).frames([0]).tolist() == [[[-128.0, 0.0], [127.0, -1.0]]]


def test_float64_beyond_float32_is_infinity(record):
    path = record([annotation(0, 1)], samples=np.array([[1e300, -1e300]]), datatype="cf64_le")
    assert open_sigmf(path, length=1).frames([0]).tolist() == [[[np.inf], [-np.inf]]]


def test_overlapping_annotations_each_give_their_frames(record):
    dataset = open_sigmf(record([annotation(0, 8, "A"), annotation(3, 8, "B"), annotation(3, 4, "C")]), length=4)
    assert dataset.labels.tolist() == [0, 0, 1, 1, 2]
    expected = [ramp_frame(start) for start in (0, 4, 3, 7, 3)]
    assert dataset.frames(np.arange(5)).tolist() == expected
    assert dataset.frames([4, 0, 2, 4]).tolist() == [expected[number] for number in (4, 0, 2, 4)]


def test_annotations_in_any_order_are_read(record):
    dataset = open_sigmf(record([annotation(20, 4), annotation(0, 4)]), length=4)
    assert dataset.frames([0, 1]).tolist() == [ramp_frame(20), ramp_frame(0)]


def test_frames_of_many_runs_are_gathered(record, monkeypatch):
    # Readings of at most 3 frames of 8 bytes a sample.
    monkeypatch.setattr("deploy.frames.gathering.RUN_BYTES", 3 * 32)
    dataset = open_sigmf(record([annotation(start, 12) for start in (0, 12, 5, 24, 28)]), length=4)
    expected = np.array([ramp_frame(start + step) for start in (0, 12, 5, 24, 28) for step in (0, 4, 8)])
    for asked in (np.arange(15), np.arange(15)[::-1], np.array([2, 2, 14, 3, 0, 1]), np.array([0, 0, 0, 0, 4])):
        np.testing.assert_array_equal(dataset.frames(asked), expected[asked])


def test_an_annotation_without_count_lasts_until_its_capture_ends(record):
    captures = [{"core:sample_start": 0}, {"core:sample_start": 18}]
    dataset = open_sigmf(record([annotation(2, None), annotation(30, None, "B")], captures=captures), length=4)
    assert dataset.labels.tolist() == [1, 1, 1, 1, 0, 0]
    assert dataset.frames(np.arange(6)).tolist() == [ramp_frame(start) for start in (2, 6, 10, 14, 30, 34)]


def test_no_frame_reaches_into_the_next_capture(record):
    captures = [{"core:sample_start": start} for start in (0, 10, 12, 20)]
    dataset = open_sigmf(record([annotation(1, 27)], captures=captures), length=4)
    # 1 to 9 gives two, 10 to 11 none, 12 to 19 two, 20 to 27 two.
    assert dataset.frames(np.arange(6)).tolist() == [ramp_frame(start) for start in (1, 5, 12, 16, 20, 24)]


def test_header_and_trailing_bytes_are_passed_over(record, tmp_path):
    samples = ramp(20).tobytes()
    data = b"HEAD!" + samples[: 10 * 8] + b"more" + samples[10 * 8 :] + b"the end"
    path = record(
        [annotation(0, 20)],
        captures=[
            {"core:sample_start": 0, "core:header_bytes": 5},
            {"core:sample_start": 10, "core:header_bytes": 4},
        ],
        data=data,
        trailing_bytes=7,
        dataset="raw.bin",
    )
    path.with_suffix(".sigmf-data").rename(tmp_path / "raw.bin")
    dataset = open_sigmf(path, length=5)
    assert dataset.frames(np.arange(4)).tolist() == [ramp_frame(start, 5) for start in (0, 5, 10, 15)]


def test_sample_numbers_count_from_the_offset(record):
    captures = [{"core:sample_start": 1000}, {"core:sample_start": 1008}]
    dataset = open_sigmf(record([annotation(1004, 8)], captures=captures, offset=1000), length=4)
    assert dataset.frames([0, 1]).tolist() == [ramp_frame(4), ramp_frame(8)]


@pytest.mark.parametrize(
    "field", ["capture_details:SNRdB", "torchsig:snr_db", "signal:snr", "core:SNR", "x:SNR_dB", "snr_db"]
)
def test_an_snr_is_found_where_people_write_it(field, record):
    path = record([{**annotation(0, 4, snr_db=None), field: -6}])
    assert open_sigmf(path, length=4).snr_db.tolist() == [-6.0]


def test_the_nearest_snr_holds(record):
    said, unsaid = annotation(0, 4, snr_db=0), annotation(4, 4, snr_db=None)
    path = record([said, unsaid])
    assert open_sigmf(path, length=4, snr_db=3).snr_db.tolist() == [0.0, 3.0]
    path = record([said, unsaid], snr_db=7)
    assert open_sigmf(path, length=4, snr_db=3).snr_db.tolist() == [0.0, 7.0]


def test_null_says_nothing(record):
    fields = {"core:sample_start": 36, "core:sample_count": None, "core:label": "A", "capture_details:SNRdB": None}
    dataset = open_sigmf(record([fields, {"core:sample_start": 0, "core:label": None}]), length=4, snr_db=1.5)
    assert (len(dataset), dataset.snr_db.tolist()) == (1, [1.5])


def test_what_gives_no_frame_is_left_out_and_told(record, caplog):
    caplog.set_level(logging.INFO)
    unlabelled = {"core:sample_start": 0, "core:comment": "noise"}
    dataset = open_sigmf(record([unlabelled, annotation(0, 3, "short", None), annotation(0, 4)]), length=4)
    assert dataset.classes == ("QPSK",)
    assert caplog.messages == [
        "rec.sigmf-meta: 2 annotations without a label or shorter than a frame are left out",
    ]


def test_whole_numbers_may_be_written_as_floats(record):
    dataset = open_sigmf(record([annotation(4.0, 8e0)]), length=4)
    assert dataset.frames([0]).tolist() == [ramp_frame(4)]


def test_undeclared_extensions_and_a_byte_order_mark_are_let_be(record):
    path = record([annotation(0, 4, **{"x:y": {"z": [1, None]}})], hw="a radio")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(open_sigmf(path, length=4)) == 1


def test_what_the_library_writes_is_read(tmp_path):
    samples = np.arange(64, dtype="f4").astype("c8")
    (tmp_path / "lib.sigmf-data").write_bytes(samples.tobytes())
    file = sigmf.SigMFFile(
        data_file=str(tmp_path / "lib.sigmf-data"),
        global_info={"core:datatype": "cf32_le", "core:sample_rate": 1e6, "core:version": "1.2.0"},
    )
    file.add_capture(0, metadata={"core:frequency": 9e8})
    file.add_annotation(8, 48, metadata={"core:label": "8PSK", "capture_details:SNRdB": 4.0})
    with contextlib.suppress(DeprecationWarning):  # it warns of the extension that is not declared
        file.tofile(str(tmp_path / "lib"))
    if not (tmp_path / "lib.sigmf-meta").exists():
        file.tofile(str(tmp_path / "lib"), skip_validate=True)
    dataset = open_sigmf(tmp_path / "lib.sigmf-meta", length=16)
    assert dataset.frames([2])[0, 0].tolist() == list(range(40, 56))
    assert dataset.snr_db.tolist() == [4.0] * 3


def test_a_set_can_go_to_another_process(record, monkeypatch):
    path = record([annotation(0, 40)])
    monkeypatch.chdir(path.parent)
    copy = pickle.loads(pickle.dumps(open_sigmf(Path(path.name), length=4)))
    monkeypatch.chdir("/")
    assert copy.frames([9]).tolist() == [ramp_frame(36)]


def test_samples_stay_in_the_file(record):
    path = record([annotation(0, 1 << 21)], samples=np.zeros((1 << 21, 2), "<f4"))
    tracemalloc.start()
    dataset = open_sigmf(path)
    dataset.frames([2047])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The samples take 16 MiB.
    assert peak < 2 << 20


def test_samples_replaced_while_in_use_are_refused(record):
    path = record([annotation(0, 40)])
    dataset = open_sigmf(path, length=4)
    path.with_suffix(".sigmf-data").write_bytes(bytes(400))
    with pytest.raises(DatasetError, match=r"^rec\.sigmf-data: the file was replaced while in use"):
        dataset.frames([0])
    path.with_suffix(".sigmf-data").unlink()
    with pytest.raises(DatasetError, match=r"^rec\.sigmf-data: cannot be read: No such file"):
        dataset.frames([0])


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (
            [annotation(0, 4, snr_db=None)],
            r'annotation 0 \(QPSK\) has no SNR; expected "capture_details:SNRdB".*unknown-snr-db',
        ),
        ([annotation(0, 4), annotation(38, 4)], r"annotation 1 \(QPSK\) covers samples 38 to 41; .* has 0 to 39"),
        ([annotation(0, 10**12)], r"annotation 0 \(QPSK\) covers samples 0 to 999999999999; .* has 0 to 39"),
        ([annotation(2**63 - 1, 2**63 - 1)], r"annotation 0 \(QPSK\) covers samples 9223372036854775807 to"),
        ([annotation(41, None)], r"annotation 0 \(QPSK\) covers samples 41"),
        ([annotation(-1, 4)], "annotation 0: core:sample_start is -1; expected a whole number"),
        ([annotation(None, 4)], "annotation 0: core:sample_start is missing"),
        ([annotation("0", 4)], "annotation 0: core:sample_start is '0'"),
        ([annotation(True, 4)], "annotation 0: core:sample_start is True"),
        ([annotation(0.5, 4)], r"annotation 0: core:sample_start is 0\.5"),
        ([annotation(0, [4])], "annotation 0: core:sample_count is a list of 1"),
        ([annotation(0, 4, 7)], "annotation 0: core:label is 7; expected printable text"),
        ([annotation(0, 4, "a\x1b[2J")], r"annotation 0: core:label is 'a\\x1b\[2J'"),
        ([annotation(0, 4, "x" * 201)], "annotation 0: core:label is 'xxx.*at most 200 characters"),
        ([annotation(0, 4, "\ud800")], "annotation 0: core:label is"),
        ([annotation(0, 4, snr_db="10")], "annotation 0: capture_details:SNRdB is '10'; expected a number of dB"),
        ([annotation(0, 4, snr_db=1e30)], r"annotation 0: capture_details:SNRdB is 1e\+30"),
        ([annotation(0, 4, **{"x:snr": 9})], "has two SNRs, capture_details:SNRdB 10 and x:snr 9; expected one"),
        (["QPSK"], "annotation 0 is 'QPSK'; expected an object"),
        ([], 'none of its 0 annotations gives a frame of 4 samples.*"core:label": "QPSK"'),
        ([annotation(0, 3)], r"none of its 1 annotations .*\(0 without core:label, 1 too short\)"),
        ([{"core:sample_start": 0}], r"none of its 1 annotations .*\(1 without core:label, 0 too short\)"),
    ],
)
def test_an_annotation_that_does_not_fit_is_refused_by_number(annotations, message, record):
    assert_refused(record(annotations), message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"datatype": "rf32_le"}, "core:datatype is rf32_le, real samples; expected complex ones, I and Q"),
        ({"datatype": "cf32"}, "core:datatype is 'cf32'; expected .* with _le or _be"),
        ({"datatype": "cf32_le\u202e"}, "core:datatype is"),
        ({"datatype": "c"}, "core:datatype"),
        ({"datatype": 7}, "core:datatype"),
        ({"num_channels": 2}, "core:num_channels is 2; expected 1"),
        ({"num_channels": None}, "core:num_channels"),
        ({"sample_rate": "1 MHz"}, "core:sample_rate"),
        ({"sample_rate": -1}, "core:sample_rate"),
        ({"version": None}, "core:version"),
        ({"offset": -1}, "core:offset"),
        ({"offset": 5}, r"annotation 0 \(QPSK\) covers samples 0 to 3; the recording has 5 to 44"),
        ({"offset": 5, "captures": [{"core:sample_start": 0}]}, "a capture starts at sample 0, before core:offset, 5"),
        ({"trailing_bytes": 319}, "has no samples: 320 bytes, of which .* 0 are headers and 319 trailing"),
        ({"trailing_bytes": 2**63 - 1}, "has no samples"),
        ({"captures": [{"core:sample_start": 0, "core:header_bytes": 2**62}]}, "has no samples"),
        ({"captures": [{"core:sample_start": 8}, {"core:sample_start": 0}]}, "captures.* incorrect sample start order"),
        ({"captures": [{}]}, "captures 0: .*core:sample_start"),
        ({"captures": [7]}, "captures 0: 7 is not of type"),
        ({"captures": [{"core:sample_start": 0}] * 50_001}, "has 50001 captures; expected at most 50000"),
        ({"data": b""}, "has no samples: 0 bytes"),
        ({"dataset": "../rec.bin"}, "core:dataset"),
        ({"dataset": "/etc/passwd"}, "core:dataset"),
        ({"dataset": ".."}, r"core:dataset is '\.\.'; expected the name of a file beside it"),
        ({"dataset": "a\0b"}, r"core:dataset is 'a\\x00b'"),
        ({"dataset": 5}, "core:dataset"),
    ],
)
def test_a_recording_that_cannot_be_used_is_refused_by_field(fields, message, record):
    assert_refused(record([annotation(0, 4)], **fields), message)


def test_missing_samples_are_named(record):
    path = record([annotation(0, 4)])
    path.with_suffix(".sigmf-data").unlink()
    assert_refused(path, r"its samples are missing; expected rec\.sigmf-data beside it\. Fetch that file too")
    path = record([annotation(0, 4)], metadata_only=True)
    path.with_suffix(".sigmf-data").unlink()
    assert_refused(path, "marked core:metadata_only")
    path = record([annotation(0, 4)], dataset="x" * 5000)
    path.with_suffix(".sigmf-data").unlink()
    assert_refused(path, "its samples are missing; expected xxx")


def test_two_files_of_samples_are_refused(record, tmp_path):
    path = record([annotation(0, 4)], dataset="raw.bin")
    assert len(open_sigmf(path, length=4)) == 1
    (tmp_path / "raw.bin").write_bytes(b"12345678")
    assert_refused(path, r"core:dataset names raw\.bin, and rec\.sigmf-data is there as well")


def test_samples_in_a_pipe_or_a_folder_are_refused(record, tmp_path):
    path = record([annotation(0, 4)])
    data = path.with_suffix(".sigmf-data")
    data.unlink()
    os.mkfifo(data)
    with pytest.raises(DatasetError, match="not a regular file"):
        open_sigmf(path)
    data.unlink()
    data.mkdir()
    with pytest.raises(DatasetError, match="not a regular file"):
        open_sigmf(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rec.sigmf", r"Unpack the archive first: tar xf rec\.sigmf$"),
        ("rec.sigmf.gz", r"Unpack the archive first: tar xf rec\.sigmf\.gz$"),
        ("rec.sigmf.zip", r"Unpack the archive first: unzip rec\.sigmf\.zip$"),
        ("rec.sigmf-collection", r"Name the \.sigmf-meta of one"),
        ("rec.wav", r"expected a \.sigmf-meta or a \.sigmf-data"),
        ("rec.sigmf-meta", "cannot be read: No such file"),
        ("a\0b.sigmf-meta", "null"),
    ],
)
def test_another_name_is_refused_with_a_way_out(name, message, tmp_path):
    with pytest.raises(DatasetError, match=message):
        open_sigmf(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "frames of 0 samples; expected at least 1"),
        ({"length": 10**30}, "none of its 1 annotations gives a frame"),
        ({"snr_db": float("nan")}, "an SNR of nan dB"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message, record):
    assert_refused(record([annotation(0, 4)]), message, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no JSON: Expecting value"),
        (b"{", "is no JSON"),
        (b"\xff\xfe{\x00}\x00", "byte 0 is not UTF-8"),
        (b"[]", "has no global; expected one JSON object"),
        (b"7", "has no global"),
        (b"{}", "has no global"),
        (b'{"global": []}', "has no global"),
        (b'{"global": {}, "captures": {}}', "has no captures"),
        (b'{"global": {}, "captures": []}', "has no annotations"),
        (b'{"global": {}, "captures": [], "annotations": null}', "has no annotations"),
        (b'{"global": {}, "captures": [], "annotations": []}', "global: 'core:(datatype|version)' is a required"),
        (b'{"global": {"core:version": "1.0.0", "core:version": "1.2.0"}}', "key 'core:version' is there twice"),
        (b'{"global": NaN}', "it has NaN"),
        (b'{"global": -Infinity}', "it has -Infinity"),
        (b'{"global": ' + b"1" * 100_000 + b"}", "a number of 100000 digits"),
        (b"[" * 100_000, "is nested deeper"),
        (b'{"a":' * 100_000, "is nested deeper"),
        (b'{"global": {"core:datatype": ' + b"[" * 900 + b"]" * 900 + b'}, "captures": [], "annotations": []}', "global"),
    ],
)  # fmt: skip
def test_hostile_metadata_is_one_error(content, message, record):
    path = record([])
    path.write_bytes(content)
    assert_refused(path, message)


def test_metadata_that_would_fill_the_memory_is_not_parsed(record):
    path = record([])
    with path.open("wb") as file:
        file.truncate(1 << 40)
    tracemalloc.start()
    assert_refused(path, "1099511627776 bytes of metadata; expected at most 67108864")
    tracemalloc.stop()
    path.write_bytes(b"{" * ((1 << 20) + 1))
    tracemalloc.start()
    assert_refused(path, "has 1048577 objects and 0 values; expected at most")
    path.write_bytes(b"," * ((1 << 23) + 1))
    assert_refused(path, "has 0 objects and 8388609 values; expected at most")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_annotations_over_one_range_are_bounded(record, monkeypatch):
    path = record([annotation(0, 40, str(number)) for number in range(20)])
    assert len(open_sigmf(path, length=4)) == 200
    monkeypatch.setattr("deploy.frames.sigmf._MOST_FRAMES", 199)
    assert_refused(path, r"up to annotation 19 \(19\) its annotations give 200 frames of 4 samples in 20 runs")
    monkeypatch.setattr("deploy.frames.sigmf._MOST_FRAMES", 200)
    monkeypatch.setattr("deploy.frames.sigmf._MOST_CUTS", 19)
    assert_refused(path, "in 20 runs; expected at most 200 in 19")


def test_many_captures_too_short_for_a_frame_cost_nothing(record):
    captures = [{"core:sample_start": number} for number in range(5000)]
    path = record([annotation(0, 5010)] * 5000, captures=captures, samples=ramp(5010))
    # All looked at, these would be 25 million steps. The last capture alone is long enough: 4999 to 5009.
    dataset = open_sigmf(path, length=4)
    assert len(dataset) == 10_000
    assert dataset.frames([9999]).tolist() == [ramp_frame(5003)]


@st.composite
def recordings(draw):
    count, length = draw(st.integers(1, 60)), draw(st.integers(1, 9))
    datatype = draw(st.sampled_from(DATATYPES))
    offset = draw(st.sampled_from([0, 1000]))
    starts = draw(st.lists(st.integers(0, count), max_size=4).map(sorted))
    captures = [{"core:sample_start": offset + start, "core:header_bytes": draw(st.integers(0, 5))} for start in starts]
    annotations = []
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, count))
        stop = draw(st.one_of(st.none(), st.integers(start, count)))
        label = draw(st.sampled_from(["QPSK", "BPSK", "π/4-DQPSK", "FM"]))
        annotations.append((start, stop, label, draw(st.integers(-20, 30))))
    return count, length, datatype, offset, captures, annotations, draw(st.integers(0, 2**32))


FEW = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(recording=recordings())
def test_any_recording_gives_the_frames_that_brute_force_gives(recording, record):
    count, length, datatype, offset, captures, annotations, seed = recording
    kind, bits = datatype[1], int(datatype[2:].split("_")[0])
    stored = np.dtype(f"{'>' if datatype.endswith('be') else '<'}{kind}{bits // 8}")
    numbers = np.random.default_rng(seed).integers(0, 100, size=(count, 2)).astype(stored)
    data = b""
    for number in range(count + 1):
        for capture in captures:
            if capture["core:sample_start"] == offset + number:
                data += bytes(capture["core:header_bytes"])
        data += numbers[number : number + 1].tobytes()
    bounds = {0, count} | {capture["core:sample_start"] - offset for capture in captures}
    expected = []
    for start, stop, label, snr_db in annotations:
        ends = [bound for bound in bounds if bound > start] or [count]
        at, end = start, min(ends) if stop is None else stop
        while at + length <= end:
            inside = [bound for bound in bounds if at < bound < at + length]
            if inside:
                at = min(inside)
                continue
            expected.append((label, snr_db, numbers[at : at + length].T - (2.0 ** (bits - 1) if kind == "u" else 0)))
            at += length
            # What is left of a capture is dropped.
            following = min((bound for bound in bounds if bound >= at), default=count)
            if following - at < length:
                at = following
    fields = [
        annotation(offset + start, None if stop is None else stop - start, label, snr_db)
        for start, stop, label, snr_db in annotations
    ]
    path = record(fields, captures=captures, data=data, datatype=datatype, offset=offset)
    if not expected:
        assert_refused(path, "gives a frame of|has no samples", length=length)
        return
    dataset = open_sigmf(path, length=length)
    assert [dataset.classes[label] for label in dataset.labels] == [label for label, _, _ in expected]
    assert dataset.snr_db.tolist() == [snr_db for _, snr_db, _ in expected]
    frames = np.array([frame for _, _, frame in expected], dtype="f4")
    np.testing.assert_array_equal(dataset.frames(np.arange(len(dataset))), frames)


def damaged(content: bytes, data) -> bytes:
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "remove"])):
            case "flip":
                content = (
                    content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :]
                )
            case "cut":
                content = content[: place + 1]
            case "insert":
                text = st.sampled_from([b"9", b"-", b"e9", b"null", b"[]", b'"', b"{", b",", b"\\u0000"])
                content = content[:place] + data.draw(st.binary(min_size=1, max_size=9) | text) + content[place:]
            case "remove":
                content = content[:place] + content[place + data.draw(st.integers(1, 9)) :] or b"x"
    return content


@settings(FEW, max_examples=100)
@given(of_samples=st.booleans(), data=st.data())
def test_a_damaged_recording_is_a_set_or_one_error(of_samples, data, record):
    path = record([annotation(0, 10), annotation(12, None, "B")], captures=[{"core:sample_start": 0}], offset=0)
    chosen = path.with_suffix(".sigmf-data") if of_samples else path
    chosen.write_bytes(damaged(chosen.read_bytes(), data))
    with contextlib.suppress(DatasetError):
        dataset = open_sigmf(path, length=4)
        dataset.frames(np.arange(len(dataset)))
