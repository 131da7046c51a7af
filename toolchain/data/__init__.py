"""Files in, frames out: reading sets of frames safely, checking them, splitting them."""

from deploy.frames.dataset import Dataset, from_memory
from deploy.frames.h5 import open_h5, verify_h5
from toolchain.data.batches import Batch, BatchReader, Part, in_order
from toolchain.data.checking import check_frames
from toolchain.data.open_dataset import open_dataset
from toolchain.data.rml2016 import open_rml2016
from toolchain.data.selecting import select_classes, select_snr, with_class_order
from toolchain.data.splits import Split, stratified_sample, stratified_split
from toolchain.data.writing import convert_to_h5, write_blocks, write_h5

__all__ = [
    "Batch",
    "BatchReader",
    "Dataset",
    "Part",
    "Split",
    "check_frames",
    "convert_to_h5",
    "from_memory",
    "in_order",
    "open_dataset",
    "open_h5",
    "open_rml2016",
    "select_classes",
    "select_snr",
    "stratified_sample",
    "stratified_split",
    "verify_h5",
    "with_class_order",
    "write_blocks",
    "write_h5",
]
