"""Files in, frames out: reading sets of frames safely, checking them, splitting them."""

from deploy.frames.dataset import Dataset, from_memory
from deploy.frames.h5 import open_h5, verify_h5
from toolchain.data.batches import Batch, BatchReader, Part, in_order
from toolchain.data.checking import check_frames
from toolchain.data.formats.rml2016 import open_rml2016
from toolchain.data.open_dataset import files_of_set, is_set_folder, open_dataset
from toolchain.data.selecting import select, select_classes, select_snr, select_snrs, with_class_order
from toolchain.data.split_conventions import CONVENTIONS, split_by
from toolchain.data.splits import Split, stratified_sample, stratified_split
from toolchain.data.use import DataUse, record_of, seen_among_tested, use_in, use_in_training, use_in_words
from toolchain.data.writing import convert_to_h5, write_blocks, write_h5

__all__ = [
    "CONVENTIONS",
    "Batch",
    "BatchReader",
    "DataUse",
    "Dataset",
    "Part",
    "Split",
    "check_frames",
    "convert_to_h5",
    "files_of_set",
    "from_memory",
    "in_order",
    "is_set_folder",
    "open_dataset",
    "open_h5",
    "open_rml2016",
    "record_of",
    "seen_among_tested",
    "select",
    "select_classes",
    "select_snr",
    "select_snrs",
    "split_by",
    "stratified_sample",
    "stratified_split",
    "use_in",
    "use_in_training",
    "use_in_words",
    "verify_h5",
    "with_class_order",
    "write_blocks",
    "write_h5",
]
