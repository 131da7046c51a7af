"""What a bundle carries for JetPack 4 and 5: models in a form that TensorRT 8 reads, and a script for trtexec."""

from __future__ import annotations

import logging
from importlib import resources
from pathlib import Path

import onnx
from onnx import ModelProto

from deploy.errors import first_line

log = logging.getLogger(__name__)

SCRIPT = "trtexec.sh"
SOURCES = ("fp32.onnx", "int8.onnx")
# All that may be written.
FILES = (SCRIPT, *(f"trtexec-{source}" for source in SOURCES))
# The newest that TensorRT 8.2 reads; from 13 on weights may be quantised by channel.
OPSET = 13
# As far down as the converter goes. What changed from 13 to 15 are types that these files do not use, and attributes.
CONVERTED = 15
# Those that came later: without them an operator does what it does where they are 0.
LATER = {"allowzero", "noop_with_empty_axes"}


def write_trtexec(folder: Path, length: int) -> list[Path]:
    """Write the script and, of ``fp32.onnx`` and ``int8.onnx`` in ``folder``, what it times; return what was written.

    Nothing is written where the models use what opset 13 does not have, which is told as a warning.
    """
    written = []
    for source in SOURCES:
        if not (folder / source).is_file():
            continue
        path = folder / f"trtexec-{source}"
        try:
            model = older(onnx.load(folder / source))
        except Exception as error:  # the converter's errors have no base of their own
            log.warning("%s: no file for TensorRT 8 beside it: %s", source, first_line(error))
            continue
        onnx.save(model, path)
        written.append(path)
    if written:
        text = resources.files("toolchain.export").joinpath(SCRIPT).read_text(encoding="utf-8")
        (folder / SCRIPT).write_text(text.replace("@LENGTH@", str(length)), encoding="utf-8")
        written.append(folder / SCRIPT)
    return written


def older(model: ModelProto) -> ModelProto:
    """Return ``model`` in opset 13; raises what onnx does where it cannot be."""
    made = onnx.version_converter.convert_version(model, CONVERTED)
    del made.opset_import[:]
    made.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    shapes = {each.name: onnx.numpy_helper.to_array(each) for each in made.graph.initializer}
    for node in made.graph.node:
        # A zero in the shape is what the attribute is about.
        plain = node.op_type == "Reshape" and node.input[1] in shapes and shapes[node.input[1]].all()
        kept = [each for each in node.attribute if each.name not in LATER or (each.i and not plain)]
        del node.attribute[:]
        node.attribute.extend(kept)
    onnx.checker.check_model(made, full_check=True)
    return made
