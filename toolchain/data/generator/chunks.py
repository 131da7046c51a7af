"""Frames a chunk at a time: sent, received, and each chunk of a (class, SNR) cell from a seed of its own.

Frames are always made in whole chunks, so that what is drawn for a frame never depends on how many frames there are.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.data.generator.channel import draw_channel, receive, sending_times_s, white_noise
from toolchain.data.generator.presets import PRESETS, Preset

# What is asked for at once is made of up to this many chunks: tens of milliseconds of work, so that handing it to another
# process takes no part of it worth naming, and 1 MiB of frames.
PIECE_CHUNKS = 16


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Frames of one cell from the start of a chunk on, by plain values that another process understands."""

    preset: str
    class_name: str
    snr_db: float
    seed: int
    first_chunk: int
    frames: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of :func:`make_piece`'s array."""
        return self.frames, 2, PRESETS[self.preset].length


def cell_pieces(preset: Preset, class_name: str, snr_db: float, frames: int, seed: int) -> Iterator[Piece]:
    """Cut the first ``frames`` frames of a cell into pieces, in order."""
    most = PIECE_CHUNKS * preset.chunk_frames
    for number, first in enumerate(range(0, frames, most)):
        yield Piece(
            preset=preset.name,
            class_name=class_name,
            snr_db=snr_db,
            seed=seed,
            first_chunk=number * PIECE_CHUNKS,
            frames=min(most, frames - first),
        )


def make_piece(piece: Piece) -> NDArray[np.float32]:
    """Make the frames of ``piece``: float32 (frames, 2, length), each of RMS 1, signal and noise together."""
    preset = PRESETS[piece.preset]
    iq = np.empty(piece.shape, dtype=np.float32)
    for number, first in enumerate(range(0, piece.frames, preset.chunk_frames)):
        wanted = iq[first : first + preset.chunk_frames]
        chunk = piece.first_chunk + number
        signal, noise = generate_chunk(preset, piece.class_name, piece.snr_db, chunk, piece.seed)
        _write_unit_rms((signal + noise)[: len(wanted)], wanted)
    return iq


def generate_chunk(
    preset: Preset, class_name: str, snr_db: float, chunk: int, seed: int
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Make one chunk of a cell, signal and noise apart: two complex64 (chunk_frames, length), at their own scale.

    A frame of :func:`toolchain.data.generator.generate` is their sum, brought to RMS 1.
    """
    rng = np.random.default_rng(_chunk_seed(preset, class_name, snr_db, chunk, seed))
    channel = draw_channel(preset.chunk_frames, rng)
    times_s = sending_times_s(channel, preset.length, preset.sample_rate_hz)
    symbol_period_s = preset.samples_per_symbol / preset.sample_rate_hz
    sent = preset.transmitters[class_name](times_s.reshape(preset.chunk_frames, -1), symbol_period_s, rng)
    signal = receive(channel, sent.reshape(times_s.shape), preset.sample_rate_hz)
    return signal, white_noise(signal, snr_db, rng)


def _write_unit_rms(received: NDArray[np.complex64], iq: NDArray[np.float32]) -> None:
    power = np.mean(received.real**2 + received.imag**2, axis=1, keepdims=True)
    scale = 1 / np.sqrt(power)
    iq[:, 0] = received.real * scale
    iq[:, 1] = received.imag * scale


def _chunk_seed(preset: Preset, class_name: str, snr_db: float, chunk: int, seed: int) -> np.random.SeedSequence:
    # By name, not by number: a class added to a preset leaves the others' frames as they were. Python's own hash()
    # differs from process to process.
    class_key = zlib.crc32(f"{preset.name}/{class_name}".encode())
    # The number's bits, so that any two SNRs have two seeds; adding 0.0 makes one of -0.0 and 0.0.
    (snr_key,) = struct.unpack("<Q", struct.pack("<d", float(snr_db) + 0.0))
    return np.random.SeedSequence(seed, spawn_key=(class_key, snr_key, chunk))
