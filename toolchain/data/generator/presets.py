"""The kinds of data set that can be generated: their classes, and how each class is sent and sampled.

``rml2016a``, after RML2016.10a (O'Shea and West, Radio Machine Learning Dataset Generation with GNU Radio, 2016)
    Like it: classes and their order, 128 samples, 200 kHz, 8 samples a symbol, CPFSK and GFSK as GNU Radio makes them,
    the channel's ranges and echoes. Not: speech is voiced here where it is a recording there; AM-SSB, which is noise
    alone there, is speech here; carrier and clock are drawn for each frame.

``sig2019``, after Sig2019-12, the unpublished set of the layer-pruning literature (Lu et al., A Generic Layer Pruning
Method for Signal Modulation Recognition Deep Learning Models, arXiv:2406.07929; Chen et al., SigNet, arXiv:2011.03525)
    Like it: the 12 kinds of modulation, 512 samples. Ours, since we know of no published recipe: the order of the
    labels, 8 samples a symbol (64 symbols a frame), roll-offs and channel as in ``rml2016a``, and the modulation index.

``rml2018``, after RML2018.01A (O'Shea, Roy and Clancy, Over the Air Deep Learning Based Radio Signal Classification,
IEEE J. Sel. Top. Signal Process. 12(1), 2018, arXiv:1712.04578)
    Like it: classes in the order that the file really has, 1024 samples, roll-offs from 0.1 to 0.4 (its table I), echoes
    up to two samples late. Ours: 8 samples a symbol and 200 kHz, which the file does not tell; carrier offsets within
    2.5 cycles in 1000 samples and clock offsets within 250 ppm (there normal, of standard deviation 1e-4 or 1e-2); SNR is
    that of the samples; ring radii, the amplitudes of ASK, and what AM and FM carry.

FM needs the 200 kHz: it deviates by up to 74 kHz.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from toolchain.data.generator.analogue import (
    double_sideband,
    double_sideband_suppressed_carrier,
    single_sideband,
    single_sideband_with_carrier,
    wideband_frequency_modulation,
)
from toolchain.data.generator.constellations import CONSTELLATIONS
from toolchain.data.generator.pulses import gaussian_phase_table, rectangular_phase_table
from toolchain.data.generator.signals import Transmitter, frequency_shift_keying, linear, staggered

# In 13 steps: close enough together that a continuous draw would show no more.
ROLL_OFFS = tuple(0.2 + 0.025 * step for step in range(13))
RML2018_ROLL_OFFS = tuple(0.1 + 0.025 * step for step in range(13))

CPFSK_MODULATION_INDEX = 0.5
# GNU Radio's gfsk_mod at 8 samples a symbol with sensitivity 0.1 (radians a sample), as RML2016.10a was made with.
GFSK_MODULATION_INDEX = 0.8 / math.pi
GFSK_BANDWIDTH_TIME = 0.35
# As GSM: 3GPP TS 45.004.
GMSK_MODULATION_INDEX = 0.5
GMSK_BANDWIDTH_TIME = 0.3
# Half a symbol rate is the least distance at which tones are orthogonal (Proakis and Salehi, 5th edition, section 3.2-4).
# At twice as much, eight tones would reach over the edge of the sampled band at 8 samples a symbol; as it is, 1/1000 of
# their power does.
FSK_MODULATION_INDEX = 0.5

# So few that a chunk's arrays stay in the processor's cache.
CHUNK_SAMPLES = 64 * 128


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A kind of data set: how each class is sent, in the order of the labels, and how its frames are sampled.

    ``length`` is in samples.
    """

    name: str
    transmitters: Mapping[str, Transmitter]
    length: int
    sample_rate_hz: float
    samples_per_symbol: float

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; a class's place is its label."""
        return tuple(self.transmitters)

    @property
    def chunk_frames(self) -> int:
        """Count the frames that are made at once, each chunk from a seed of its own."""
        return max(1, CHUNK_SAMPLES // self.length)


def _linear(points: str, roll_offs: tuple[float, ...] = ROLL_OFFS) -> Transmitter:
    return partial(linear, constellation=CONSTELLATIONS[points], roll_offs=roll_offs)


def _offset_quadrature(roll_offs: tuple[float, ...] = ROLL_OFFS) -> Transmitter:
    return partial(staggered, constellation=CONSTELLATIONS["4QAM"], roll_offs=roll_offs)


def _tones(order: int, modulation_index: float) -> Transmitter:
    return partial(
        frequency_shift_keying, order=order, modulation_index=modulation_index, phase_table=rectangular_phase_table
    )


def _gaussian(modulation_index: float, bandwidth_time: float) -> Transmitter:
    return partial(
        frequency_shift_keying,
        modulation_index=modulation_index,
        phase_table=partial(gaussian_phase_table, bandwidth_time),
    )


PRESETS: dict[str, Preset] = {
    "rml2016a": Preset(
        name="rml2016a",
        transmitters={
            "8PSK": _linear("8PSK"),
            "AM-DSB": double_sideband,
            "AM-SSB": single_sideband,
            "BPSK": _linear("BPSK"),
            "CPFSK": _tones(2, CPFSK_MODULATION_INDEX),
            "GFSK": _gaussian(GFSK_MODULATION_INDEX, GFSK_BANDWIDTH_TIME),
            "PAM4": _linear("4PAM"),
            "QAM16": _linear("16QAM"),
            "QAM64": _linear("64QAM"),
            "QPSK": _linear("QPSK"),
            "WBFM": wideband_frequency_modulation,
        },
        length=128,
        sample_rate_hz=200e3,
        samples_per_symbol=8.0,
    ),
    "sig2019": Preset(
        name="sig2019",
        transmitters={
            "BPSK": _linear("BPSK"),
            "QPSK": _linear("QPSK"),
            "8PSK": _linear("8PSK"),
            "OQPSK": _offset_quadrature(),
            "2FSK": _tones(2, FSK_MODULATION_INDEX),
            "4FSK": _tones(4, FSK_MODULATION_INDEX),
            "8FSK": _tones(8, FSK_MODULATION_INDEX),
            **{name: _linear(name) for name in ("16QAM", "32QAM", "64QAM", "4PAM", "8PAM")},
        },
        length=512,
        sample_rate_hz=200e3,
        samples_per_symbol=8.0,
    ),
    "rml2018": Preset(
        name="rml2018",
        # The classes.txt that was published with the set has another order, which is not the file's.
        transmitters={
            **{
                name: _linear(name, RML2018_ROLL_OFFS)
                for name in (
                    *("OOK", "4ASK", "8ASK", "BPSK", "QPSK", "8PSK", "16PSK", "32PSK"),
                    *("16APSK", "32APSK", "64APSK", "128APSK"),
                    *("16QAM", "32QAM", "64QAM", "128QAM", "256QAM"),
                )
            },
            "AM-SSB-WC": single_sideband_with_carrier,
            "AM-SSB-SC": single_sideband,
            "AM-DSB-WC": double_sideband,
            "AM-DSB-SC": double_sideband_suppressed_carrier,
            "FM": wideband_frequency_modulation,
            "GMSK": _gaussian(GMSK_MODULATION_INDEX, GMSK_BANDWIDTH_TIME),
            "OQPSK": _offset_quadrature(RML2018_ROLL_OFFS),
        },
        length=1024,
        sample_rate_hz=200e3,
        samples_per_symbol=8.0,
    ),
}
