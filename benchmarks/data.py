"""The figures of the data side: opening a large pickle, shuffling a file larger than memory, training on it, generating.

    python benchmarks/data.py [--folder DIR]

Each figure is a ratio, or held to a bar, within one run: what is compared is measured in turns, each time in a process
of its own, and the median of the turns counts. Files (about 9 GiB) are written to a folder that goes again, and are in
the page cache when they are read. Writes ``benchmarks/results/data.json`` and
``data.png``. Close other programs.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np

# This folder, in which a program hides the package of its name.
sys.path.pop(0)

from deploy.host import describe_host
from toolchain.data import BatchReader, Dataset, Part, convert_to_h5, from_memory, open_dataset
from toolchain.data.formats.rml2018 import CLASSES
from toolchain.data.generator import PRESETS, generated_blocks
from toolchain.data.inspection import inspect_dataset
from toolchain.data.synth import write_generated
from toolchain.report.frames_figures import write_frames_figures

RESULTS = Path(__file__).parent / "results"
TURNS = 5
BATCH = 512
RML2016_CLASSES, RML2016_SNRS, RML2016_CELL, RML2016_LENGTH = PRESETS["rml2016a"].classes, range(-20, 20, 2), 1000, 128
RML2018_FRAMES, RML2018_LENGTH = 524_288, 1024
TRAINING_FRAMES, TRAINING_STEPS, TRAINING_BATCH, TRAINING_TURNS = 65_536, 12, 512, 3
# About ten seconds' work for one core.
GENERATED_FRAMES = {"rml2016a": 400_000, "sig2019": 130_000, "rml2018": 45_000}


def main() -> None:
    """Write the files, measure, write the results, and show each figure with its bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, help="where there is room for 9 GiB [default: the system's for such files]"
    )
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        print(json.dumps(TASKS[arguments.task](arguments.file)))
        return
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures["pickle"] = pickles(Path(folder))
        figures["shuffled_epoch"] = epochs(Path(folder))
        picture(Path(folder))
    figures["generator"] = {preset: generator(preset) for preset in PRESETS}
    figures["bars"] = bars(figures)
    figures["command"] = shlex.join(["python", "benchmarks/data.py"])
    figures["host"] = describe_host()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "data.json").write_text(json.dumps(figures, indent=2) + "\n")
    for bar in figures["bars"]:
        print(f"{'met   ' if bar['met'] else 'MISSED'} {bar['figure']}: {bar['seen']:.4g} (bar: {bar['bar']})")


def pickles(folder: Path) -> dict[str, Any]:
    """Opening a file of RML2016.10a's real size and reading every frame, against pickle.load."""
    file = folder / "RML2016.10a_dict.pkl"
    write_python2_pickle(file)
    turns = in_turns(["pickle_load", "open_dataset"], file, TURNS)
    plain, ours = turns["pickle_load"], turns["open_dataset"]
    return {
        "file_bytes": file.stat().st_size,
        **turns,
        "time_ratio": median_ratio(ours, plain, "seconds"),
        "peak_memory_ratio": median_ratio(ours, plain, "peak_mib"),
    }


def epochs(folder: Path) -> dict[str, Any]:
    """One shuffled epoch over 4 GiB laid out as RML2018.01A, and as our own .h5; sequential h5py beside it; training."""
    file = folder / "rml2018.hdf5"
    write_rml2018(file)
    own = folder / "own.h5"
    convert_to_h5(open_dataset(file), own, made_by="benchmarks/data.py")
    read_once(file)
    turns = in_turns(["shuffled_epoch", "sequential_h5py"], file, TURNS)
    read_once(own)
    turns["shuffled_epoch_own_h5"] = in_turns(["shuffled_epoch"], own, TURNS)["shuffled_epoch"]
    read_once(file)
    training = in_turns(["train_from_memory", "train_from_file"], file, TRAINING_TURNS)
    return {
        "file_bytes": file.stat().st_size,
        **turns,
        "against_sequential_h5py": median_ratio(turns["sequential_h5py"], turns["shuffled_epoch"], "seconds"),
        "training": {
            **training,
            "frames": TRAINING_FRAMES,
            "steps": TRAINING_STEPS,
            "batch": TRAINING_BATCH,
            "time_ratio": median_ratio(training["train_from_file"], training["train_from_memory"], "seconds"),
        },
    }


def generator(preset: str) -> dict[str, Any]:
    """Frames a second in one process, and how many times that in two, start included."""
    turns: dict[str, list[float]] = {"one": [], "two": []}
    snrs = range(-20, 20, 4)
    frames_per_cell = GENERATED_FRAMES[preset] // (len(PRESETS[preset].classes) * len(snrs))
    frames = frames_per_cell * len(PRESETS[preset].classes) * len(snrs)
    for turn in range(TRAINING_TURNS):
        for workers, name in ((1, "one"), (2, "two"))[:: 1 if turn % 2 else -1]:
            started = time.perf_counter()
            made = generated_blocks(preset, frames_per_cell=frames_per_cell, snr_db=snrs, seed=turn, workers=workers)
            with closing(made):
                assert sum(len(block) for block in made) == frames
            turns[name].append(frames / (time.perf_counter() - started))
    return {
        "length": PRESETS[preset].length,
        "frames": frames,
        "frames_per_s": turns["one"],
        "frames_per_s_two_workers": turns["two"],
        "median_frames_per_s": statistics.median(turns["one"]),
        "two_workers_ratio": statistics.median(two / one for one, two in zip(turns["one"], turns["two"], strict=True)),
    }


def picture(folder: Path) -> None:
    """What `data inspect --plots` draws of the largest preset: a look at all its classes."""
    file = folder / "rml2018.h5"
    write_generated(file, "rml2018", frames_per_cell=40, snr_db=(18,), seed=1)
    dataset = open_dataset(file)
    write_frames_figures(folder / "plots", dataset, inspect_dataset(dataset))
    shutil.copy(folder / "plots" / "overview.png", RESULTS / "data.png")


def in_turns(tasks: list[str], file: Path, turns: int) -> dict[str, list[dict[str, float]]]:
    """Run each task in a fresh process, ``turns`` times, the order turned round each time."""
    found: dict[str, list[dict[str, float]]] = {task: [] for task in tasks}
    for turn in range(turns):
        for task in tasks if turn % 2 else tasks[::-1]:
            command = [sys.executable, __file__, "--task", task, "--file", str(file)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[task].append(json.loads(done.stdout))
            print(f"{task}: {found[task][-1]}", flush=True)
    return found


def median_ratio(ours: list[dict[str, float]], other: list[dict[str, float]], key: str) -> float:
    """The median over the turns of ours to the other."""
    return statistics.median(mine[key] / theirs[key] for mine, theirs in zip(ours, other, strict=True))


def timed(work: Callable[[], int]) -> dict[str, float]:
    """What ``work`` took, and the most memory this process ever had; ``work`` returns the bytes it went through."""
    started = time.perf_counter()
    content_bytes = work()
    seconds = time.perf_counter() - started
    status = Path("/proc/self/status").read_text()
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    return {"seconds": seconds, "mb_per_s": content_bytes / seconds / 1e6, "peak_mib": peak_kib / 1024}


def load_pickle(file: Path) -> dict[str, float]:
    """Plain pickle.load: every array is then in memory."""

    def work() -> int:
        with file.open("rb") as opened:
            return sum(array.nbytes for array in pickle.load(opened, encoding="latin1").values())

    return timed(work)


def open_and_read(file: Path) -> dict[str, float]:
    """Opening with ours, and going through every frame."""

    def work() -> int:
        dataset = open_dataset(file)
        out = np.empty((1024, 2, dataset.length), dtype=np.float32)
        for start in range(0, len(dataset), 1024):
            stop = min(start + 1024, len(dataset))
            dataset.frames(np.arange(start, stop), out[: stop - start])
        return len(dataset) * 8 * dataset.length

    return timed(work)


def shuffled_epoch(file: Path) -> dict[str, float]:
    """Opening, and every frame once in shuffled batches; each batch is looked at, as a model would."""

    def work() -> int:
        dataset = open_dataset(file)
        seen = 0
        with BatchReader(Part(dataset, np.arange(len(dataset))), BATCH, shuffled=True) as reader:
            for batch in reader.epoch(reader.shuffled_order(np.random.default_rng(0))):
                batch.iq.max()
                seen += len(batch.iq)
        assert seen == len(dataset)
        return seen * 8 * dataset.length

    return timed(work)


def sequential_h5py(file: Path) -> dict[str, float]:
    """What plain h5py gives, one batch after another as they stand in the file, in the file's own layout."""

    def work() -> int:
        with h5py.File(file) as opened:
            frames = opened["X"]
            for start in range(0, len(frames), BATCH):
                frames[start : start + BATCH].max()
            return int(frames.nbytes)

    return timed(work)


def train(file: Path, *, in_memory: bool) -> dict[str, float]:
    """A few steps of the smallest net of the zoo on frames from all over the file, read from it or loaded before."""
    import torch

    from toolchain.models import create_model
    from toolchain.training import FitSettings, fit

    torch.set_num_threads(1)
    dataset = open_dataset(file)
    chosen = np.arange(0, len(dataset), len(dataset) // TRAINING_FRAMES)
    part = Part(_loaded(dataset, chosen), np.arange(len(chosen))) if in_memory else Part(dataset, chosen)
    model = create_model("resnet1d20", len(CLASSES), RML2018_LENGTH, generator=torch.Generator().manual_seed(0))
    settings = FitSettings(steps=TRAINING_STEPS, batch=TRAINING_BATCH, learning_rate=1e-3, weight_decay=0.0)
    validation = Part(part.dataset, part.indices[:TRAINING_BATCH])

    def work() -> int:
        with tempfile.TemporaryDirectory() as folder:
            fit(model, part, validation, settings, seed=0, checkpoint=Path(folder) / "checkpoint.pt")
        return TRAINING_STEPS * TRAINING_BATCH * 8 * RML2018_LENGTH

    return timed(work)


def _loaded(dataset: Dataset, chosen: np.ndarray) -> Dataset:
    return Dataset(
        source=dataset.source,
        format=dataset.format,
        classes=dataset.classes,
        labels=dataset.labels[chosen],
        snr_db=dataset.snr_db[chosen],
        length=dataset.length,
        sample_rate_hz=None,
        read=from_memory(dataset.frames(chosen)),
    )


TASKS: dict[str, Callable[[Path], dict[str, float]]] = {
    "pickle_load": load_pickle,
    "open_dataset": open_and_read,
    "shuffled_epoch": shuffled_epoch,
    "sequential_h5py": sequential_h5py,
    "train_from_memory": lambda file: train(file, in_memory=True),
    "train_from_file": lambda file: train(file, in_memory=False),
}


def write_python2_pickle(path: Path) -> None:
    """A dict of 220 cells of 1,000 frames as Python 2's pickle writes it in protocol 0: text, arrays as quoted strings."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(b"(dp0\n")
        memo = 1
        for name in RML2016_CLASSES:
            for snr in RML2016_SNRS:
                cell = rng.standard_normal((RML2016_CELL, 2, RML2016_LENGTH), dtype=np.float32) * np.float32(0.006)
                # repr of bytes escapes as Python 2's repr of a string does.
                quoted = repr(cell.tobytes())[1:].encode()
                file.write(b"(S'%b'\np%d\nI%d\ntp%d\n" % (name.encode(), memo, snr, memo + 1))
                file.write(b"cnumpy.core.multiarray\n_reconstruct\np%d\n(cnumpy\nndarray\np%d\n" % (memo + 2, memo + 3))
                file.write(b"(I0\ntp%d\nS'b'\np%d\ntp%d\nRp%d\n" % (memo + 4, memo + 5, memo + 6, memo + 7))
                file.write(b"(I1\n(I%d\nI2\nI%d\ntp%d\n" % (RML2016_CELL, RML2016_LENGTH, memo + 8))
                file.write(b"cnumpy\ndtype\np%d\n(S'f4'\np%d\nI0\nI1\ntp%d\nRp%d\n" % (*range(memo + 9, memo + 13),))
                file.write(b"(I3\nS'<'\np%d\nNNNI-1\nI-1\nI0\ntp%d\nbI00\n" % (memo + 13, memo + 14))
                file.write(b"S%b\np%d\ntp%d\nbs" % (quoted, memo + 15, memo + 16))
                memo += 17
        file.write(b".")


def write_rml2018(path: Path) -> None:
    """524,288 frames of noise in RML2018.01A's layout: X, Y one-hot and Z, in the strict order of class and SNR."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4096, RML2018_LENGTH, 2), dtype=np.float32)
    with h5py.File(path, "w") as file:
        frames = file.create_dataset("X", (RML2018_FRAMES, RML2018_LENGTH, 2), dtype="f4")
        for start in range(0, RML2018_FRAMES, len(noise)):
            frames[start : start + len(noise)] = noise
        label = np.arange(RML2018_FRAMES) * len(CLASSES) // RML2018_FRAMES
        file["Y"] = np.eye(len(CLASSES), dtype=np.int64)[label]
        file["Z"] = (np.arange(RML2018_FRAMES) // 840 % 26 * 2 - 20)[:, None]


def read_once(path: Path) -> None:
    """Bring a file into the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(16 << 20):
            pass


def bars(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Each figure beside what it is held to."""
    epoch, training = figures["shuffled_epoch"], figures["shuffled_epoch"]["training"]
    found = [
        ("opening and reading a pickle, times pickle.load", figures["pickle"]["time_ratio"], "at most", 1.2),
        ("its peak memory, times pickle.load's", figures["pickle"]["peak_memory_ratio"], "at most", 1.0),
        (
            "shuffled epoch, MB/s",
            statistics.median(turn["mb_per_s"] for turn in epoch["shuffled_epoch"]),
            "at least",
            500,
        ),
        ("its peak memory, MiB", max(turn["peak_mib"] for turn in epoch["shuffled_epoch"]), "at most", 1024),
        ("training from the file, times from memory", training["time_ratio"], "at most", 1.05),
    ]
    for preset, made in figures["generator"].items():
        found += [
            (
                f"generator, {preset}, frames a second a core",
                made["median_frames_per_s"],
                "at least",
                1_280_000 / made["length"],
            ),
            (f"generator, {preset}, two workers", made["two_workers_ratio"], "at least", 1.8),
        ]
    return [
        {"figure": name, "seen": seen, "bar": f"{way} {bar:g}", "met": seen <= bar if way == "at most" else seen >= bar}
        for name, seen, way, bar in found
    ]


if __name__ == "__main__":
    main()
