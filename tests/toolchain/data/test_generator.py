import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from toolchain.data.generator import CHUNK_FRAMES, PRESETS, generate, generate_chunk
from toolchain.data.signals import TRANSMITTERS
from toolchain.errors import DatasetError

RML2016A = PRESETS["rml2016a"]


def test_presets_name_classes_that_can_be_sent():
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert set(preset.classes) <= set(TRANSMITTERS)
        assert len(set(preset.classes)) == len(preset.classes)


def test_rml2016a_is_the_published_set_in_shape():
    assert list(RML2016A.classes) == sorted(RML2016A.classes)
    assert (len(RML2016A.classes), RML2016A.length, RML2016A.sample_rate_hz) == (11, 128, 200e3)


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


@pytest.mark.parametrize("class_name", RML2016A.classes)
def test_snr_measured_back_is_the_label_in_every_cell(class_name):
    for snr_db in range(-20, 20, 2):
        signal, noise = generate_chunk(RML2016A, class_name, snr_db, 0, 7)
        signal_power = np.mean(np.abs(signal) ** 2, axis=1, dtype=np.float64)
        noise_power = np.mean(np.abs(noise) ** 2, axis=1, dtype=np.float64)
        assert signal_power.min() > 0
        assert -10 * np.log10(np.mean(noise_power / signal_power)) == pytest.approx(snr_db, abs=0.3)


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


def test_asking_for_more_frames_keeps_the_first_ones():
    few = generate("rml2016a", frames_per_cell=5, snr_db=[0], seed=9)
    many = generate("rml2016a", frames_per_cell=CHUNK_FRAMES + 3, snr_db=[0], seed=9)
    for label in range(11):
        np.testing.assert_array_equal(few.iq[few.label == label], many.iq[many.label == label][:5])


def test_another_process_makes_the_same_bits():
    program = (
        "import hashlib; from toolchain.data.generator import generate;"
        "print(hashlib.sha256(generate('rml2016a', frames_per_cell=1, snr_db=[0], seed=1).iq.tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    here = hashlib.sha256(generate("rml2016a", frames_per_cell=1, snr_db=[0], seed=1).iq.tobytes()).hexdigest()
    assert run.stdout.strip() == here


def test_a_longer_preset_is_only_another_row():
    long = replace(RML2016A, name="long", length=1024)
    for class_name in ("QAM64", "GFSK", "WBFM"):
        signal, noise = generate_chunk(long, class_name, 10, 0, 0)
        assert signal.shape == noise.shape == (CHUNK_FRAMES, 1024)
        assert np.all(np.isfinite(signal))


def test_progress_is_told_up_to_the_last_frame():
    told = []
    generate("rml2016a", frames_per_cell=2, snr_db=[0, 4], seed=0, progress=lambda *said: told.append(said))
    assert [done for done, _, _ in told] == list(range(2, 45, 2))
    assert told[-1] == (44, 44, "WBFM at 4 dB")


def test_numpy_integers_are_whole_numbers_too():
    made = generate("rml2016a", frames_per_cell=np.int64(1), snr_db=np.arange(0, 4, 2), seed=np.int64(2))
    assert len(made.iq) == 22


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"preset": "rml2016"}, r'"rml2016" is not one of rml2016a.*did you mean "rml2016a"\?'),
        ({"preset": "zebra"}, r'"zebra" is not one of rml2016a$'),
        ({"frames_per_cell": 0}, "frames_per_cell is 0, expected a whole number, 1 or more"),
        ({"frames_per_cell": 2.5}, "frames_per_cell is 2.5, expected a whole number"),
        ({"seed": -1}, "seed is -1, expected a whole number, 0 or more"),
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
        generate(asked.pop("preset"), **asked)
