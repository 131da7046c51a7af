"""Frames without any file: presets, what each class sends, the channel, and how the work is shared out."""

from toolchain.data.generator.chunks import generate_chunk
from toolchain.data.generator.frames import GeneratedFrames, generate, generated_blocks, generated_labels
from toolchain.data.generator.presets import PRESETS, Preset

__all__ = [
    "PRESETS",
    "GeneratedFrames",
    "Preset",
    "generate",
    "generate_chunk",
    "generated_blocks",
    "generated_labels",
]
