import hashlib
import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from toolchain.data.generator import PRESETS, generate, generate_chunk, generated_blocks, generated_labels
from toolchain.data.generator import frames as frames_module
from toolchain.data.generator.chunks import make_piece
from toolchain.errors import DatasetError

RML2016A = PRESETS["rml2016a"]


def test_frames_come_by_class_then_snr_then_number():
    made = generate("rml2016a", frames_per_cell=2, snr_db=[10, -4], seed=0)
    assert made.iq.shape == (44, 2, 128)
    assert (made.iq.dtype, made.label.dtype, made.snr_db.dtype) == (np.float32, np.int64, np.float32)
    assert made.label.tolist() == [label for label in range(11) for _ in range(4)]
    assert made.snr_db.tolist() == [10, 10, -4, -4] * 11


def test_every_frame_has_rms_one_and_no_two_are_alike():
    made = generate("rml2016a", frames_per_cell=70, snr_db=[-20, 18], seed=1)
    power = np.mean(made.iq[:, 0] ** 2 + made.iq[:, 1] ** 2, axis=1)
    np.testing.assert_allclose(power, 1, rtol=1e-5)
    assert len(np.unique(made.iq[:, 0, :3], axis=0)) == len(made.iq)


def test_a_frame_is_its_signal_and_its_noise():
    made = generate("rml2016a", frames_per_cell=3, snr_db=[6], seed=5)
    signal, noise = generate_chunk(RML2016A, "AM-DSB", 6, 0, 5)
    frame = (signal + noise)[2]
    frame /= np.sqrt(np.mean(np.abs(frame) ** 2))
    got = made.iq[made.label == 1][2]
    np.testing.assert_allclose(got, [frame.real, frame.imag], atol=1e-6)


@pytest.mark.parametrize(
    ("preset", "class_name"), [(preset.name, name) for preset in PRESETS.values() for name in preset.classes]
)
def test_snr_measured_back_is_the_label_in_every_class(preset, class_name):
    for snr_db in (-20, -6, 0, 8, 18, 30):
        signal, noise = generate_chunk(PRESETS[preset], class_name, snr_db, 0, 7)
        assert signal.shape == noise.shape == (PRESETS[preset].chunk_frames, PRESETS[preset].length)
        signal_power = np.mean(np.abs(signal) ** 2, axis=1, dtype=np.float64)
        noise_power = np.mean(np.abs(noise) ** 2, axis=1, dtype=np.float64)
        assert signal_power.min() > 0
        assert -10 * np.log10(np.mean(noise_power / signal_power)) == pytest.approx(snr_db, abs=0.3)


def test_rml2016a_frames_are_those_of_the_first_release():
    # Every sample weighs in, with a weight that changes from one to the next: whoever changes a draw, or the order of
    # two, gives all users other data for their seeds. Not a hash: processors round the last place in their own ways.
    made = generate("rml2016a", frames_per_cell=70, snr_db=[-20, 18], seed=1)
    weight = (np.arange(140 * 256) * 2654435761 % 1000 / 1000 - 0.5).reshape(140, 2, 128)
    sums = [np.sum(made.iq[made.label == label] * weight) for label in range(11)]
    first_release = [26.2159, -17.6464, 1.9301, -65.9195, -27.7888, 39.0454, -2.1967, -29.8372, 4.5, 19.5263, -10.2025]
    np.testing.assert_allclose(sums, first_release, atol=5e-3)


def test_the_same_seed_gives_the_same_frames_and_another_others():
    def make(seed):
        return generate("rml2016a", frames_per_cell=1, snr_db=[0], seed=seed).iq

    np.testing.assert_array_equal(make(3), make(3))
    assert not np.any(np.all(make(3) == make(4), axis=(1, 2)))


def test_a_cells_frames_do_not_depend_on_the_other_cells():
    alone = generate("rml2016a", frames_per_cell=2, snr_db=[2], seed=0)
    among = generate("rml2016a", frames_per_cell=2, snr_db=[-8, 2, 30], seed=0)
    np.testing.assert_array_equal(alone.iq, among.iq[among.snr_db == 2])


def test_classes_of_a_preset_do_not_share_their_draws():
    # Same symbols, channel and noise under two labels would let a model tell frames apart by their noise.
    noises = [generate_chunk(RML2016A, name, 0, 0, 0)[1] for name in ("BPSK", "QPSK")]
    correlation = np.mean(noises[0] * noises[1].conj())
    assert abs(correlation) < 0.05 * np.mean(np.abs(noises[0]) ** 2)


@pytest.mark.parametrize(("preset", "few"), [("rml2016a", 5), ("sig2019", 3), ("rml2018", 1)])
def test_asking_for_more_frames_keeps_the_first_ones(preset, few):
    more = PRESETS[preset].chunk_frames + 3
    first = generate(preset, frames_per_cell=few, snr_db=[0], seed=9)
    many = generate(preset, frames_per_cell=more, snr_db=[0], seed=9)
    for label in range(len(PRESETS[preset].classes)):
        np.testing.assert_array_equal(first.iq[first.label == label], many.iq[many.label == label][:few])


def test_chunks_follow_each_other_beyond_a_piece():
    one_class = PRESETS["rml2018"].chunk_frames * 16 + 2
    made = next(generated_blocks("rml2018", frames_per_cell=one_class, snr_db=[4], seed=3))
    signal, noise = generate_chunk(PRESETS["rml2018"], "OOK", 4, 16, 3)
    frame = (signal + noise)[1]
    frame /= np.sqrt(np.mean(np.abs(frame) ** 2))
    np.testing.assert_allclose(made[one_class - 1], [frame.real, frame.imag], atol=1e-6)


def test_another_process_makes_the_same_bits():
    program = (
        "import hashlib; from toolchain.data.generator import generate;"
        "print(hashlib.sha256(generate('rml2016a', frames_per_cell=1, snr_db=[0], seed=1).iq.tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    here = hashlib.sha256(generate("rml2016a", frames_per_cell=1, snr_db=[0], seed=1).iq.tobytes()).hexdigest()
    assert run.stdout.strip() == here


def test_progress_is_told_up_to_the_last_frame():
    told = []
    generate("rml2016a", frames_per_cell=2, snr_db=[0, 4], seed=0, progress=lambda *said: told.append(said))
    assert [done for done, _, _ in told] == list(range(2, 45, 2))
    assert told[-1] == (44, 44, "WBFM at 4 dB")


def test_numpy_integers_are_whole_numbers_too():
    made = generate(
        "rml2016a", frames_per_cell=np.int64(1), snr_db=np.arange(0, 4, 2), seed=np.int64(2), workers=np.int64(1)
    )
    assert len(made.iq) == 22


def test_frames_are_the_same_whatever_the_number_of_workers():
    asked = {"frames_per_cell": 65, "snr_db": np.array([-4, 10]), "seed": np.int64(6)}
    alone = generate("rml2016a", **asked)
    for workers in (2, 3):
        told = []
        shared = generate("rml2016a", **asked, workers=workers, progress=lambda *said, told=told: told.append(said))
        np.testing.assert_array_equal(shared.iq, alone.iq)
        np.testing.assert_array_equal(shared.label, alone.label)
        np.testing.assert_array_equal(shared.snr_db, alone.snr_db)
        assert told[-1] == (1430, 1430, "WBFM at 10 dB")
        assert [done for done, _, _ in told] == list(range(65, 1431, 65))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("block_frames", [1, 7, 1000])
def test_blocks_are_the_frames_in_their_order(monkeypatch, preset, block_frames):
    asked = {"frames_per_cell": 2, "snr_db": [0, 6], "seed": 5}
    monkeypatch.setattr(frames_module, "BLOCK_BYTES", block_frames * 8 * PRESETS[preset].length)
    blocks = list(generated_blocks(preset, **asked))
    whole = generate(preset, **asked).iq
    assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
    assert {len(block) for block in blocks[:-1]} <= {block_frames}
    assert 0 < len(blocks[-1]) <= block_frames
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_blocks_from_workers_are_the_same_ones(monkeypatch):
    monkeypatch.setattr(frames_module, "BLOCK_BYTES", 50 * 8 * 1024)
    asked = {"frames_per_cell": 5, "snr_db": [2], "seed": 1}
    for alone, shared in zip(
        generated_blocks("rml2018", **asked), generated_blocks("rml2018", **asked, workers=2), strict=True
    ):
        np.testing.assert_array_equal(alone, shared)


def test_closing_the_blocks_ends_the_work_at_once(monkeypatch):
    made = []
    monkeypatch.setattr(frames_module, "make_piece", lambda piece: made.append(piece) or make_piece(piece))
    monkeypatch.setattr(frames_module, "BLOCK_BYTES", 8 * 128)
    blocks = generated_blocks("rml2016a", frames_per_cell=1, snr_db=[0], seed=0)
    assert made == []
    next(blocks)
    blocks.close()
    assert next(blocks, None) is None
    assert len(made) == 1


def test_blocks_are_16_mib_and_so_is_the_memory_of_a_set_that_has_no_end():
    tracemalloc.start()
    try:
        blocks = generated_blocks("rml2018", frames_per_cell=10**9, snr_db=[0], seed=0)
        sizes = [block.nbytes for block in itertools.islice(blocks, 2)]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sizes == [16 * 2**20] * 2
    assert most < 48 * 2**20


def test_labels_are_those_of_the_frames_for_the_same_arguments():
    made = generate("sig2019", frames_per_cell=3, snr_db=[10, -4, 0.5], seed=0)
    label, snr_db = generated_labels("sig2019", frames_per_cell=3, snr_db=[10, -4, 0.5])
    assert (label.dtype, snr_db.dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(label, made.label)
    np.testing.assert_array_equal(snr_db, made.snr_db)
    assert label.tolist() == [number for number in range(12) for _ in range(9)]
    assert snr_db[:9].tolist() == [10, 10, 10, -4, -4, -4, 0.5, 0.5, 0.5]


def test_a_set_that_memory_cannot_hold_is_refused_in_words():
    for frames_per_cell in (10**13, 10**20):
        with pytest.raises(DatasetError, match=r"frames take [0-9,]+ GiB of memory, which is not to be had"):
            generate("rml2018", frames_per_cell=frames_per_cell, snr_db=[0], seed=0)
        with pytest.raises(DatasetError, match="more than memory can list"):
            generated_labels("rml2018", frames_per_cell=frames_per_cell, snr_db=[0])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"preset": "rml2016"}, r'"rml2016" is not one of rml2016a, sig2019, rml2018.*did you mean "rml2016a"\?'),
        ({"preset": "zebra"}, r'"zebra" is not one of rml2016a, sig2019, rml2018$'),
        ({"frames_per_cell": 0}, "frames_per_cell is 0, expected a whole number, 1 or more"),
        ({"frames_per_cell": 2.5}, "frames_per_cell is 2.5, expected a whole number"),
        ({"seed": -1}, "seed is -1, expected a whole number, 0 or more"),
        ({"workers": 0}, "workers is 0, expected a whole number, 1 or more"),
        ({"workers": 1.5}, "workers is 1.5, expected a whole number"),
        ({"snr_db": []}, "snr_db is empty"),
        ({"snr_db": [0, float("nan")]}, "snr_db has nan, expected finite"),
        ({"snr_db": [float("-inf")]}, "snr_db has -inf"),
        ({"snr_db": [400]}, "snr_db has 400, expected finite numbers from -100 to 100 dB"),
        ({"snr_db": [2, 4, 2]}, "snr_db has 2 more than once"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_with_the_way_out(changed, says):
    asked = {"preset": "rml2016a", "frames_per_cell": 1, "snr_db": [0], "seed": 0} | changed
    with pytest.raises(DatasetError, match=says):
        generate(**asked)
    # At the call, not when the first block is asked for.
    with pytest.raises(DatasetError, match=says):
        generated_blocks(**asked)
    if not {"seed", "workers"} & set(changed):
        with pytest.raises(DatasetError, match=says):
            generated_labels(asked["preset"], frames_per_cell=asked["frames_per_cell"], snr_db=asked["snr_db"])
