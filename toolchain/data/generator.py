"""Frames without any file: the data sets' classes, sent and received by this project's own radio.

Frames are made 64 at a time, each such chunk of a (class, SNR) cell from its own seed. So a cell's frames depend only
on the seed, the preset, the class and the SNR: not on the other cells asked for, nor on how the work is shared out;
and asking for more frames leaves the first ones as they were.

The same numpy on the same kind of processor gives the same bits; another may round sines and cosines differently in the
last place.
"""

from __future__ import annotations

import math
import operator
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.progress import Progress, silent
from deploy.strict_reading import did_you_mean
from toolchain.data.channel import draw_channel, receive, sending_times_s, white_noise
from toolchain.data.signals import TRANSMITTERS
from toolchain.errors import DatasetError

# Frames are always made in whole chunks, so that what the generator draws for a frame never depends on how many there
# are. 64 keeps a chunk's arrays in the processor's cache.
CHUNK_FRAMES = 64
# Beyond this, float32 holds nothing of the weaker of signal and noise.
SNR_LIMIT_DB = 100.0


@dataclass(frozen=True)
class Preset:
    """A kind of data set: its classes in the order of their labels, and how its frames are sampled.

    Every class is a name in :data:`toolchain.data.signals.TRANSMITTERS`; ``length`` is in samples.
    """

    name: str
    classes: tuple[str, ...]
    length: int
    sample_rate_hz: float
    samples_per_symbol: float


PRESETS: dict[str, Preset] = {
    "rml2016a": Preset(
        name="rml2016a",
        classes=(
            "8PSK",
            "AM-DSB",
            "AM-SSB",
            "BPSK",
            "CPFSK",
            "GFSK",
            "PAM4",
            "QAM16",
            "QAM64",
            "QPSK",
            "WBFM",
        ),
        length=128,
        sample_rate_hz=200e3,
        samples_per_symbol=8.0,
    ),
}


@dataclass(frozen=True)
class GeneratedFrames:
    """Frames by class, then SNR in the order asked for, then number.

    ``iq``: float32 (frames, 2, length), row 0 in-phase, row 1 quadrature, each frame of RMS 1 (signal and noise
    together: mean of I^2 + Q^2 is 1). ``label``: int64 (frames,), the class's place in the preset. ``snr_db``: float32
    (frames,).
    """

    iq: NDArray[np.float32]
    label: NDArray[np.int64]
    snr_db: NDArray[np.float32]


def generate(
    preset: str, *, frames_per_cell: int, snr_db: Sequence[int], seed: int, progress: Progress = silent
) -> GeneratedFrames:
    """Make ``frames_per_cell`` frames of every class of ``preset`` at every SNR of ``snr_db``.

    ``seed`` is any whole number from 0; the same one gives the same frames. Beside the frames themselves, memory holds
    one chunk of 64. Progress counts frames. A DatasetError says which argument cannot be meant, and why.
    """
    made = _preset(preset)
    _check_count("frames_per_cell", frames_per_cell, least=1)
    _check_count("seed", seed, least=0)
    _check_snr_db(snr_db)
    cells = [(label, snr) for label in range(len(made.classes)) for snr in snr_db]
    frames = len(cells) * frames_per_cell
    try:
        iq = np.empty((frames, 2, made.length), dtype=np.float32)
    except (MemoryError, ValueError) as error:
        size_gib = frames * 2 * made.length * 4 / 2**30
        raise DatasetError(
            f"generate: {frames:,} frames take {size_gib:,.0f} GiB of memory, which is not to be had; ask for fewer a cell"
        ) from error
    for cell, (label, snr) in enumerate(cells):
        of_cell = iq[cell * frames_per_cell : (cell + 1) * frames_per_cell]
        for first in range(0, frames_per_cell, CHUNK_FRAMES):
            wanted = of_cell[first : first + CHUNK_FRAMES]
            signal, noise = generate_chunk(made, made.classes[label], snr, first // CHUNK_FRAMES, seed)
            _write_unit_rms((signal + noise)[: len(wanted)], wanted)
        progress((cell + 1) * frames_per_cell, frames, f"{made.classes[label]} at {snr:g} dB")
    return GeneratedFrames(
        iq=iq,
        label=np.repeat(np.array([label for label, _ in cells], dtype=np.int64), frames_per_cell),
        snr_db=np.repeat(np.array([snr for _, snr in cells], dtype=np.float32), frames_per_cell),
    )


def generate_chunk(
    preset: Preset, class_name: str, snr_db: float, chunk: int, seed: int
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Make one chunk of a cell, signal and noise apart: two complex64 (64, length), at their own scale.

    A frame of :func:`generate` is their sum, brought to RMS 1.
    """
    rng = np.random.default_rng(_chunk_seed(preset, class_name, snr_db, chunk, seed))
    channel = draw_channel(CHUNK_FRAMES, rng)
    times_s = sending_times_s(channel, preset.length, preset.sample_rate_hz)
    symbol_period_s = preset.samples_per_symbol / preset.sample_rate_hz
    sent = TRANSMITTERS[class_name](times_s.reshape(CHUNK_FRAMES, -1), symbol_period_s, rng)
    signal = receive(channel, sent.reshape(times_s.shape), preset.sample_rate_hz)
    return signal, white_noise(signal, snr_db, rng)


def _chunk_seed(preset: Preset, class_name: str, snr_db: float, chunk: int, seed: int) -> np.random.SeedSequence:
    # By name, not by number: a class added to a preset leaves the others' frames as they were. Python's own hash()
    # differs from process to process.
    class_key = zlib.crc32(f"{preset.name}/{class_name}".encode())
    # The number's bits, so that any two SNRs have two seeds; adding 0.0 makes one of -0.0 and 0.0.
    (snr_key,) = struct.unpack("<Q", struct.pack("<d", float(snr_db) + 0.0))
    return np.random.SeedSequence(seed, spawn_key=(class_key, snr_key, chunk))


def _write_unit_rms(received: NDArray[np.complex64], iq: NDArray[np.float32]) -> None:
    power = np.mean(received.real**2 + received.imag**2, axis=1, keepdims=True)
    scale = 1 / np.sqrt(power)
    iq[:, 0] = received.real * scale
    iq[:, 1] = received.imag * scale


def _preset(name: str) -> Preset:
    if name in PRESETS:
        return PRESETS[name]
    raise DatasetError(f'generate: preset "{name}" is not one of {", ".join(PRESETS)}{did_you_mean(name, PRESETS)}')


def _check_count(what: str, value: int, *, least: int) -> None:
    try:
        valid = operator.index(value) >= least
    except TypeError:
        valid = False
    if not valid:
        raise DatasetError(f"generate: {what} is {value!r}, expected a whole number, {least} or more")


def _check_snr_db(snr_db: Sequence[int]) -> None:
    if len(snr_db) == 0:
        raise DatasetError("generate: snr_db is empty, expected at least one SNR in dB, such as [-10, 0, 10]")
    for snr in snr_db:
        if not math.isfinite(snr) or abs(snr) > SNR_LIMIT_DB:
            raise DatasetError(
                f"generate: snr_db has {snr:g}, expected finite numbers from {-SNR_LIMIT_DB:g} to {SNR_LIMIT_DB:g} dB"
            )
    repeated = sorted({snr for snr in snr_db if list(snr_db).count(snr) > 1})
    if repeated:
        raise DatasetError(
            f"generate: snr_db has {', '.join(f'{snr:g}' for snr in repeated)} more than once; the frames would be the "
            "same ones again, give each SNR once"
        )
