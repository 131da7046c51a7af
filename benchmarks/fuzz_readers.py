"""Damaged files of frames, thousands of them: each must end as a set or in one DatasetError, and in nothing else.

    python benchmarks/fuzz_readers.py [--files 20000] [--seed 1] [--workers 2] [--json FILE] [--keep FOLDER]
    python benchmarks/fuzz_readers.py --seed 1 --only NUMBER [--keep FOLDER]

Small valid files of every format are damaged (bits, bytes, lengths, integers, ranges moved or doubled, two files spliced;
three in four of the places lie in headers rather than in samples), opened with ``open_dataset``, some frames read, and all
frames checked, in processes under a limit of memory and time. Any other exception, a warning, a crash, a hang, a claim of
memory that is believed, and a message that is not printable or does not name the file, is a fault: its file is kept, and
``--only`` shows it again. What is done to a file depends on the seed and its number alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import resource
import shlex
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

# This folder, in which a program hides the package of its name.
sys.path.pop(0)

from deploy.command_line import stderr
from deploy.host import describe_host
from deploy.progress import progress_bar
from toolchain.data import check_frames, open_dataset, write_h5
from toolchain.errors import DatasetError

RESULTS = Path(__file__).parent / "results" / "fuzz_readers.json"
MEMORY_BYTES = 1 << 30
TIME_S = 20.0
# Opening an HDF5 file takes a process of its own, a tenth of a second; the others take a hundredth of that.
WEIGHTS = {
    "rml2016, protocol 0 of Python 2": 10,
    **{f"rml2016, protocol {protocol}": 5 for protocol in range(6)},
    "npz, stored": 7,
    "npz, compressed": 7,
    "sigmf": 8,
    "hisarmod, csv": 6,
    "hisarmod, folder": 4,
    "hisarmod, mat": 4,
    "hisarmod, mat, gzip": 3,
    "thinwave h5": 8,
    "rml2018, contiguous": 6,
    "rml2018, gzip": 5,
    "hkdd, mat": 4,
    "hkdd, mat, gzip": 3,
}
INTERESTING = (0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1)
WORDS = (
    b"0", b"-1", b"9" * 30, b"1e400", b"nan", b"inf", b"\n", b"\x00", b"\xff", b"\x1b[2J", b'"', b"'", b",", b"{", b"}",
    b"[" * 3000, b"(", b"L", b"999999999999", b"2147483648", b"\xc2\x85", b"\\",
)  # fmt: skip
MOST_MESSAGE = 2000

Generator = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A valid set: its files, the one to open ("" is the folder of them all), and the places that are no samples."""

    files: dict[str, bytes]
    opened: str
    headers: dict[str, NDArray[np.int64]]


def sample(files: dict[str, bytes], opened: str, frames: NDArray[Any]) -> Sample:
    """Find the places that hold something, and no samples as they are."""
    headers = {}
    pieces = [frames[number].tobytes() for number in range(len(frames))]
    for name, content in files.items():
        told = np.frombuffer(content, np.uint8) != 0
        for piece in [*pieces, *chunks(content)]:
            if (at := content.find(piece)) >= 0:
                told[at : at + len(piece)] = False
        headers[name] = np.flatnonzero(told)
    return Sample(files=files, opened=opened, headers=headers)


def chunks(content: bytes) -> Iterator[bytes]:
    """Give the chunks of an HDF5 file's arrays, as they are stored."""
    if b"\x89HDF\r\n\x1a\n" in content[:1024]:
        with h5py.File(BytesIO(content)) as file:
            for array in file.values():
                for number in range(array.id.get_num_chunks() if array.chunks else 0):
                    yield array.id.read_direct_chunk(array.id.get_chunk_info(number).chunk_offset)[1]


def samples() -> dict[str, Sample]:
    """Make one valid set of each kind."""
    rng = np.random.default_rng(0)
    small = rng.normal(size=(8, 2, 8)).astype("<f4")
    cells = {(name, snr): small[2 * at : 2 * at + 2] for at, (name, snr) in enumerate(
        (name, snr) for name in ("BPSK", "QAM16") for snr in (-2, 10))}  # fmt: skip
    found = {"rml2016, protocol 0 of Python 2": sample({"set.pkl": python2_pickle(cells)}, "set.pkl", small)}
    for protocol in range(6):
        found[f"rml2016, protocol {protocol}"] = sample({"set.pkl": pickle.dumps(cells, protocol)}, "set.pkl", small)
    columns: dict[str, Any] = {"label": np.arange(8) % 2, "snr_db": np.arange(8, dtype="f4")}
    for kind, save in (("stored", np.savez), ("compressed", np.savez_compressed)):
        content = BytesIO()
        save(content, iq=small, classes=np.array(["BPSK", "QPSK"]), sample_rate_hz=1e6, **columns)
        found[f"npz, {kind}"] = sample({"set.npz": content.getvalue()}, "set.npz", small)
    found["sigmf"] = sigmf(rng)
    found |= hisarmod(rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.h5"
        write_h5(path, iq=small, classes=("BPSK", "QPSK"), sample_rate_hz=1e6, made_by="fuzz_readers", **columns)
        found["thinwave h5"] = sample({"set.h5": path.read_bytes()}, "set.h5", small)
    x = rng.normal(size=(24, 8, 2)).astype("<f4")
    rml2018 = {"X": x, "Y": np.eye(24, dtype="<i8"), "Z": np.arange(-20, 28, 2)[:, None]}
    found["rml2018, contiguous"] = sample({"set.hdf5": hdf5(rml2018)}, "set.hdf5", x)
    gzipped = hdf5(rml2018, compression="gzip", shuffle=True, chunks=True)
    found["rml2018, gzip"] = sample({"set.hdf5": gzipped}, "set.hdf5", x)
    hkdd = (1000 * rng.normal(size=(14, 1, 512, 2))).astype("<i2")
    parts = {"XTrainIQ": hkdd, "label": np.arange(14)[None] % 12, "snr_db": np.arange(14.0)[None]}
    found["hkdd, mat"] = sample({"set.mat": hdf5(parts, userblock_size=512)}, "set.mat", hkdd)
    gzipped = hdf5(parts, userblock_size=512, compression="gzip", chunks=True)
    found["hkdd, mat, gzip"] = sample({"set.mat": gzipped}, "set.mat", hkdd)
    return found


def python2_pickle(cells: dict[tuple[str, int], NDArray[Any]]) -> bytes:
    """What Python 2's cPickle writes in protocol 0, as of the published files: strings as reprs, longs with an L."""
    program = b"(dp1\n"
    for (name, snr), array in cells.items():
        program += b"(S%s\nI%d\ntp2\n" % (repr(name).encode(), snr)
        program += b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n"
        program += b"(I%d\nI%d\nL%dL\n" % array.shape
        program += b"tcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS"
        program += repr(array.tobytes())[1:].encode() + b"\ntbs"
    return program + b"."


def sigmf(rng: Generator) -> Sample:
    """A recording of two labelled parts."""
    data = (1000 * rng.normal(size=(4200, 2))).astype("<i2")
    meta = {
        "global": {"core:datatype": "ci16_le", "core:version": "1.2.0", "core:sample_rate": 1e6},
        "captures": [{"core:sample_start": 0}, {"core:sample_start": 2100}],
        "annotations": [
            {"core:sample_start": 2100 * at, "core:sample_count": 2100, "core:label": name, "capture_details:SNRdB": 5}
            for at, name in enumerate(("BPSK", "QPSK"))
        ],
    }
    files = {"set.sigmf-meta": json.dumps(meta, indent=1).encode(), "set.sigmf-data": data.tobytes()}
    return sample(files, "set.sigmf-meta", data[None])


def hisarmod(rng: Generator) -> dict[str, Sample]:
    """HisarMod2019.1 as CSV (one part, and a folder of both), and as MATLAB files."""

    def part(name: str) -> dict[str, bytes]:
        lines = [",".join(f"{i:.9g}{q:+.9g}i" for i, q in rng.normal(size=(6, 2))) for _ in range(4)]
        return {f"{name}_data.csv": "\n".join([*lines, ""]).encode(), **columns(name)}

    def columns(name: str) -> dict[str, bytes]:
        return {f"{name}_labels.csv": b"61\n54\n0\n10\n", f"{name}_snr.csv": b"-20\n18\n0\n2\n"}

    wide = rng.normal(size=(2, 1024, 4)).astype("<f4")
    none = np.empty((0, 1))
    gzipped = hdf5({"data_save": wide}, userblock_size=512, compression="gzip", shuffle=True, chunks=True)
    return {
        "hisarmod, csv": sample(part("train"), "train_data.csv", none),
        "hisarmod, folder": sample(part("train") | part("test"), "", none),
        "hisarmod, mat": sample(
            {"train.mat": hdf5({"data_save": wide}, userblock_size=512), **columns("train")}, "train.mat", wide
        ),
        "hisarmod, mat, gzip": sample({"train.mat": gzipped, **columns("train")}, "train.mat", none),
    }


def hdf5(arrays: dict[str, NDArray[Any]], userblock_size: int = 0, **options: Any) -> bytes:
    """The bytes of an HDF5 file of these arrays."""
    content = BytesIO()
    with h5py.File(content, "w", userblock_size=userblock_size) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **options)
    return content.getvalue()


def damaged(all_samples: dict[str, Sample], seed: int, number: int) -> tuple[str, Sample]:
    """Make file ``number`` of ``seed``: its kind, and the set with its damage."""
    rng = np.random.default_rng((seed, number))
    kinds = list(WEIGHTS)
    shares = np.array([WEIGHTS[kind] for kind in kinds], dtype=float)
    kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
    found = all_samples[kind]
    # The file of frames or of metadata, half of the time; any other else.
    names = list(found.files)
    name = found.opened if found.opened and rng.random() < 0.5 else names[int(rng.integers(len(names)))]
    content = bytearray(found.files[name])
    # Few, so that some of it is still read.
    many = int(rng.choice([1, int(rng.integers(2, 5)), int(rng.integers(5, 21))], p=[0.6, 0.28, 0.12]))
    for _ in range(many):
        damage(content, found.headers[name], rng)
    if rng.random() < 0.04:
        other = all_samples[kinds[int(rng.integers(len(kinds)))]]
        tail = list(other.files.values())[int(rng.integers(len(other.files)))]
        content[int(rng.integers(len(content) + 1)) :] = tail[int(rng.integers(len(tail))) :]
    return kind, Sample(files=found.files | {name: bytes(content)}, opened=found.opened, headers=found.headers)


def damage(content: bytearray, header: NDArray[np.int64], rng: Generator) -> None:
    """Do one thing to ``content``, in place."""
    if not content:
        return

    def place() -> int:
        at = int(rng.choice(header)) if header.size and rng.random() < 0.75 else int(rng.integers(len(content)))
        return min(at, len(content) - 1)

    def span() -> slice:
        at = place()
        return slice(at, at + int(2 ** (10 * rng.random())))

    match int(rng.choice(10, p=[0.2, 0.2, 0.05, 0.05, 0.1, 0.1, 0.05, 0.15, 0.05, 0.05])):
        case 0:
            content[place()] ^= 1 << int(rng.integers(8))
        case 1:
            content[place()] = int(rng.integers(256))
        case 2:
            del content[place() :]
        case 3:
            content[place() : place()] = rng.bytes(int(rng.integers(1, 17)))
        case 4:
            del content[span()]
        case 5:
            taken = span()
            at = taken.start if rng.random() < 0.5 else place()
            content[at:at] = content[taken]
        case 6:
            taken, at = span(), place()
            here, there = content[taken], content[at : at + taken.stop - taken.start]
            content[taken], content[at : at + len(here)] = there, here
        case 7:
            size = int(rng.choice([1, 2, 4, 8]))
            at = place() // size * size if rng.random() < 0.8 else place()
            value = int(rng.choice(len(INTERESTING)))
            order = "little" if rng.random() < 0.9 else "big"
            content[at : at + size] = (INTERESTING[value] % 256**size).to_bytes(size, order)  # type: ignore[arg-type]
        case 8:
            # Numbers in text, and what text is made of.
            word = WORDS[int(rng.integers(len(WORDS)))]
            at = place()
            content[at : at + int(rng.choice([0, 1, len(word)]))] = word
        case _:
            taken = span()
            content[taken] = bytes([int(rng.integers(256))]) * len(content[taken])


def outcome(path: Path, names: Sequence[str], rng: Generator) -> tuple[str, str]:
    """Open, read and check a set: ("opened" or "refused", the message), or what went wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dataset = open_dataset(path)
            if not all(name.isprintable() for name in dataset.classes):
                return "unprintable class", ascii(dataset.classes)[:300]
            if len(dataset):
                dataset.frames(rng.integers(len(dataset), size=9))
            check_frames(dataset)
    except DatasetError as error:
        message = str(error)
        if not message.isprintable():
            return "unprintable message", ascii(message)[:300]
        if not message.startswith(tuple(names)):
            return "message without the file", message[:300]
        if len(message) > MOST_MESSAGE:
            return "long message", message[:300]
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return "memory", message[:300]
            cause = cause.__cause__ or cause.__context__
        return "refused", message
    except MemoryError:
        return "memory", traceback.format_exc()[-1500:]
    except Exception as error:
        return type(error).__name__, traceback.format_exc()[-1500:]
    return "opened", ""


def try_one(all_samples: dict[str, Sample], seed: int, number: int, folder: Path) -> tuple[str, str, str]:
    """Write file ``number`` into ``folder``, see how it ends, and take it away: kind, outcome, detail."""
    kind, found = damaged(all_samples, seed, number)
    path = write(found, folder)
    names = [*found.files, folder.name, str(folder)]
    ended, detail = outcome(path, names, np.random.default_rng(number))
    for name in found.files:
        (folder / name).unlink()
    return kind, ended, detail


def write(found: Sample, folder: Path) -> Path:
    """Put a set's files into ``folder``; return what to open."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in found.files.items():
        (folder / name).write_bytes(content)
    return folder / found.opened


def work(channel: Connection, seed: int, folder: Path) -> None:
    """Try the numbers that come over ``channel``; the parent takes silence or an end for a fault."""
    # Ctrl-C is the parent's to obey.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    all_samples = samples()
    try_one(all_samples, seed, 0, folder)
    mapped_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped_bytes + MEMORY_BYTES, mapped_bytes + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    channel.send(None)
    while (number := channel.recv()) is not None:
        peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = try_one(all_samples, seed, number, folder)
        channel.send((*found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_before))


@dataclass
class Worker:
    """A process that tries files, what it is at, and since when."""

    process: multiprocessing.process.BaseProcess
    channel: Connection
    number: int | None = None
    since: float = 0.0

    def give(self, number: int | None) -> None:
        """Let it try file ``number``; None lets it end."""
        self.number, self.since = number, time.monotonic()
        self.channel.send(number)


def start(seed: int, folder: Path) -> Worker:
    """Start a worker, ready for its first file."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, seed, folder), daemon=True)
    process.start()
    there.close()
    here.recv()
    return Worker(process, here)


@contextmanager
def started(count: int, seed: int, folder: Path) -> Iterator[list[Worker]]:
    """Start ``count`` workers, and end them."""
    workers = [start(seed, folder / str(at)) for at in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def fuzz(files: int, seed: int, count: int, keep: Path) -> dict[str, Any]:
    """Try ``files`` files on ``count`` processes; return the counts by kind, and each fault."""
    all_samples = samples()
    counts: dict[str, dict[str, int]] = {kind: {"opened": 0, "refused": 0, "other": 0} for kind in WEIGHTS}
    faults: list[dict[str, Any]] = []
    slowest_s = largest_kib = 0.0
    broken_down = 0
    numbers = iter(range(files))
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        started(count, seed, Path(folder)) as workers,
        progress_bar(stderr, "fuzzing") as progress,
    ):
        for worker in workers:
            worker.give(next(numbers, None))
        done = 0
        while done < files:
            wait([worker.channel for worker in workers if worker.number is not None], timeout=0.5)
            for at, worker in enumerate(workers):
                if worker.number is None:
                    continue
                number, taken_s = worker.number, time.monotonic() - worker.since
                try:
                    if not worker.channel.poll():
                        if taken_s < TIME_S:
                            continue
                        kind, ended, detail = damaged(all_samples, seed, number)[0], "time", f"more than {TIME_S:g} s"
                    else:
                        kind, ended, detail, grown_kib = worker.channel.recv()
                        largest_kib = max(largest_kib, grown_kib)
                except EOFError:
                    worker.process.join()
                    code = worker.process.exitcode
                    kind, ended, detail = damaged(all_samples, seed, number)[0], "crash", f"exit code {code}"
                if ended in ("time", "crash"):
                    worker.process.kill()
                    workers[at] = worker = start(seed, Path(folder) / f"{at}-{number}")
                done += 1
                slowest_s = max(slowest_s, taken_s)
                if ended in ("opened", "refused"):
                    counts[kind][ended] += 1
                    broken_down += "the HDF5 library broke down" in detail
                else:
                    counts[kind]["other"] += 1
                    write(damaged(all_samples, seed, number)[1], keep / str(number))
                    faults.append({"number": number, "kind": kind, "outcome": ended, "detail": detail})
                    stderr.print(f"fault: {number} ({kind}): {ended}: {detail}", soft_wrap=True)
                worker.give(next(numbers, None))
                progress(done, files, f"{len(faults)} faults")
    return {
        "files": files,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "slowest_s": round(slowest_s, 2),
        "largest_growth_of_memory_mib": round(largest_kib / 1024, 1),
        "limits": {"memory_mib": MEMORY_BYTES >> 20, "time_s": TIME_S},
        "mix": "by format, in proportion to weights: a third are HDF5, whose opening takes a process of its own",
        "hdf5_library_broken_down": broken_down,
        "outcomes": counts,
        "totals": {name: sum(each[name] for each in counts.values()) for name in ("opened", "refused", "other")},
        "faults": faults,
    }


def main() -> None:
    """Fuzz, show the counts, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help=f"where the results go; without it, no file ({RESULTS.name} is kept)")
    parser.add_argument("--only", type=int, help="try this one number, in this process, and show how it ends")
    parser.add_argument("--keep", type=Path, help="where faulty files go; a new folder under /tmp if not given")
    arguments = parser.parse_args()
    if arguments.only is not None:
        kind, found = damaged(samples(), arguments.seed, arguments.only)
        folder = arguments.keep or Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
        path = write(found, folder)
        ended = outcome(path, [*found.files, folder.name, str(folder)], np.random.default_rng(arguments.only))
        print(f"{path} ({kind}): {': '.join(ended)}")
        return
    keep = arguments.keep or Path(tempfile.gettempdir()) / f"fuzz-readers-{os.getpid()}"
    results = fuzz(arguments.files, arguments.seed, arguments.workers, keep)
    results["bars"] = [{
        "figure": "files that end in anything but a set or one DatasetError",
        "seen": results["totals"]["other"],
        "bar": "at most 0",
        "met": results["totals"]["other"] == 0,
    }]  # fmt: skip
    # Where faulty files went is of this machine.
    options = ["--files", str(arguments.files), "--seed", str(arguments.seed), "--workers", str(arguments.workers)]
    results["command"] = shlex.join(["python", "benchmarks/fuzz_readers.py", *options])
    results["host"] = describe_host()
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    for kind, each in results["outcomes"].items():
        print(f"{kind:35} " + ", ".join(f"{name} {seen}" for name, seen in each.items()))
    for bar in results["bars"]:
        print(f"{'met   ' if bar['met'] else 'MISSED'} {bar['figure']}: {bar['seen']} (bar: {bar['bar']})")
    if results["faults"]:
        print(f"their files are in {keep}; again: --seed {arguments.seed} --only NUMBER")
        sys.exit(1)


if __name__ == "__main__":
    main()
