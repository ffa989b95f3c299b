"""Clips per second of the loader beside the reference's, on the same files in one run; and what bounds it.

python benchmarks/loader.py --reference-python DIR/bin/python
"""

import argparse
import contextlib
import io
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from common import NOT_MEASURED, Report, machine, progress, run_reference, spread, threads
from loader_data import COLUMNS, drawn, make, make_long

from swmjax.data import Dataset, Loader, Reader, Windows, decoded, format_of, get_format
from swmjax.data.jpeg import decode_jpegs

NUM_STEPS, FRAMESKIP, BATCH = 4, 5, 64


@dataclass(frozen=True)
class Rate:
    """Seconds, and CPU seconds of all threads and processes, for one of many equal things, in some repeats."""

    seconds: tuple[float, ...]
    work: tuple[float, ...]

    def rate(self) -> str:
        """Things per second."""
        return spread([1 / each for each in self.seconds], 0)

    def cpu(self, unit: float = 1e3) -> str:
        """CPU time of one, in 1 / `unit` s."""
        return spread([each * unit for each in self.work], 2)

    @property
    def best(self) -> float:
        """Median of the things per second."""
        return 1 / statistics.median(self.seconds)


def measure(do: Callable[[], int], seconds: float, repeats: int, warm_up: int) -> Rate:
    """Time what does some things, again and again, and says how many."""
    for _ in range(warm_up):
        do()
    found = []
    for _ in range(repeats):
        start, begun = time.perf_counter(), time.process_time()
        count = do()
        while time.perf_counter() - start < seconds:
            count += do()
        found.append(((time.perf_counter() - start) / count, (time.process_time() - begun) / count))
    wall, work = zip(*found, strict=True)
    return Rate(wall, work)


class Runs:
    """All measurements, with the same times."""

    def __init__(self, seconds: float, repeats: int, warm_up: int):
        self.seconds, self.repeats, self.warm_up = seconds, repeats, warm_up

    def of(self, do: Callable[[], int]) -> Rate:
        """The rate of something."""
        return measure(do, self.seconds, self.repeats, self.warm_up)

    def loader(self, dataset: Dataset, **options: Any) -> Rate:
        """Clips of a loader, whose threads end behind it."""
        with iter(Loader(dataset, BATCH, **options)) as batches:

            def one() -> int:
                jax.block_until_ready([array for array in next(batches).values() if isinstance(array, jax.Array)])
                return BATCH

            return self.of(one)


def windows(reader: Reader, columns: tuple[str, ...] = COLUMNS) -> Windows:
    """The windows that everything here loads."""
    return Windows(reader, NUM_STEPS, FRAMESKIP, keys_to_load=columns)


def decoders(files: list[bytes], out: np.ndarray) -> Iterator[tuple[str, Callable[[], int] | None]]:
    """What decodes JPEG files, in one thread, by name; None for what is not there."""
    import simplejpeg
    from PIL import Image

    def through(decode: Callable[[bytes, np.ndarray], Any]) -> Callable[[], int]:
        def one() -> int:
            for number, file in enumerate(files):
                decode(file, out[number % len(out)])
            return len(files)

        return one

    yield "simplejpeg, into an array", through(lambda file, into: simplejpeg.decode_jpeg(file, buffer=into))
    try:
        import turbojpeg

        turbo = turbojpeg.TurboJPEG()
        yield "PyTurboJPEG", through(lambda file, _: turbo.decode(file, pixel_format=turbojpeg.TJPF_RGB))
    except (ImportError, RuntimeError, OSError):
        yield "PyTurboJPEG (libturbojpeg is not installed)", None
    yield "Pillow", through(lambda file, _: np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))


def needed(dataset: Windows, shuffle: bool, count: int) -> list[np.ndarray]:
    """Rows of the images of some batches, each once."""
    rng, found = np.random.default_rng(0), []
    for number in range(count):
        indices = rng.integers(0, len(dataset), BATCH) if shuffle else number * BATCH + np.arange(BATCH)
        episodes, starts = dataset.clip_indices.locate(indices % len(dataset))
        rows = (dataset.offsets[episodes] + starts)[:, None] + FRAMESKIP * np.arange(NUM_STEPS)
        found.append(np.unique(rows))
    return found


def bounds(name: str, reader: Reader, shuffle: bool, runs: Runs) -> list[str]:
    """CPU time of a batch, and what it goes to, each measured by itself on the same rows."""
    dataset, numbers = windows(reader), windows(reader, COLUMNS[1:])
    rows = needed(dataset, shuffle, 16)
    out = {"pixels": np.empty((BATCH * NUM_STEPS, *reader.columns["pixels"].shape), np.uint8)}
    turn = iter(range(10**9))

    def batches(source: Windows, out: Any) -> Callable[[], int]:
        rng = np.random.default_rng(0)

        def one() -> int:
            first = next(turn) * BATCH
            indices = rng.integers(0, len(source), BATCH) if shuffle else first + np.arange(BATCH)
            source.batch(indices % len(source), out)
            return 1

        return one

    def images() -> int:
        chosen = rows[next(turn) % len(rows)]
        reader.read(["pixels"], chosen, {"pixels": out["pixels"][: len(chosen)]})
        return 1

    parts = {"images": runs.of(images), "numbers": runs.of(batches(numbers, None))}
    places = getattr(reader, "_places", {}).get("pixels")
    if places is not None:
        held = [[bytes(file) for file in map(places.rows(each).__getitem__, range(len(each)))] for each in rows]

        def decode() -> int:
            number = next(turn) % len(rows)
            decode_jpegs(held[number], out["pixels"][: len(rows[number])], str)
            return 1

        parts["decode"] = runs.of(decode)
    whole = runs.of(batches(dataset, dataset.empty(BATCH)))
    loader = runs.loader(dataset, shuffle=shuffle)
    work = {part: statistics.median(rate.work) * 1e3 for part, rate in parts.items()}
    total, batch = statistics.median(loader.work) * BATCH * 1e3, statistics.median(whole.work) * 1e3
    decode_work = work.get("decode", 0.0)
    shares = {
        "decode": decode_work,
        "fetch": work["images"] - decode_work + work["numbers"],
        "copy": batch - work["images"] - work["numbers"],
        "loader": total - batch,
    }
    return [name, f"{total:.1f}", *(f"{each:.1f} ({each / total:.0%})" for each in shares.values())]


def memory_slope(dataset: Dataset, count: int) -> str:
    """How the memory of the process grows over many small batches."""
    sizes: list[int] = []
    every = max(1, count // 200)
    with iter(Loader(dataset, 8)) as batches:
        for number in range(count):
            next(batches)
            if number % every == 0:
                sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    kept = np.asarray(sizes[len(sizes) // 10 :]) / 1e6  # the first tenth fills what is kept
    slope = np.polyfit(np.arange(len(kept)) * every / 1000, kept, 1)[0]
    return f"{slope:+.3f} MB per 1000 batches of 8, from {kept[0]:,.0f} to {kept[-1]:,.0f} MB over {count:,}"


def writing(kind: str, episode: dict[str, np.ndarray], count: int, folder: Path, repeats: int) -> Rate:
    """Writing of episodes that are in memory, by frame."""
    found = []
    target = folder / f"written{'.lance' if kind == 'lance' else '.h5'}"
    for repeat in range(repeats + 1):
        start, begun = time.perf_counter(), time.process_time()
        with get_format(kind).writer(target, "overwrite") as writer:
            writer.write_episodes([episode] * count)
        frames = count * len(episode["pixels"])
        if repeat:  # the first round warms up
            found.append(((time.perf_counter() - start) / frames, (time.process_time() - begun) / frames))
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    wall, work = zip(*found, strict=True)
    return Rate(wall, work)


def remote(datasets: dict[str, str], count: int) -> list[list[str]]:
    """Clips per second from an S3 server on this machine: batches that were never read, and the same once more."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from data.s3 import s3_server

    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    found = []
    with s3_server() as address:
        os.environ.update(keys, AWS_ENDPOINT_URL=address)
        import s3fs

        bucket = s3fs.S3FileSystem(skip_instance_cache=True)
        bucket.mkdir("bucket")
        for name, path in datasets.items():
            target = f"bucket/{Path(path).name}"
            bucket.put(path, target, recursive=Path(path).is_dir())
            dataset, rates = windows(format_of(path).reader(f"s3://{target}")), []
            for _ in range(2):
                start = time.perf_counter()
                with iter(Loader(dataset, BATCH)) as batches:
                    for _ in range(count):
                        next(batches)
                rates.append(f"{count * BATCH / (time.perf_counter() - start):,.0f}")
            found.append([name, *rates])
    return found


def main() -> None:
    """Make the datasets, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference-python", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--folder", type=Path, help="where datasets are made and stay; else they go")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--rows", type=int, default=2_000_000, help="of the table that is only opened")
    parser.add_argument("--batches", type=int, default=20_000, help="over which memory is watched")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each repeat")
    parser.add_argument("--quick", action="store_true", help="tiny sizes; shows only that the script works")
    given = parser.parse_args()
    if given.quick:
        given.episodes, given.rows, given.batches, given.seconds = 8, 20_000, 400, 0.2
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swmjax-benchmark-")))
        folder.mkdir(parents=True, exist_ok=True)
        run(given, folder.resolve())


def run(given: argparse.Namespace, folder: Path) -> None:
    """All measurements."""
    report, size, length = Report(given.output), 64 if given.quick else 224, 60
    runs = Runs(given.seconds, given.repeats, warm_up=2 if given.quick else 30)
    progress("datasets")
    datasets = make(folder, given.episodes, length, size, given.quick)
    readers = {name: format_of(path).reader(path) for name, path in datasets.items()}
    first = readers["lance"].read(COLUMNS, np.arange(int(readers["lance"].lengths[0])))
    episode = drawn(length, size, 0) if given.quick else first
    written = 2 if given.quick else 20
    np.savez(folder / "frames.npz", **episode)
    settings = {
        "datasets": datasets,
        "columns": COLUMNS,
        "num_steps": NUM_STEPS,
        "frameskip": FRAMESKIP,
        "batch_size": BATCH,
        "workers": [0, threads()],
        "seconds": given.seconds,
        "repeats": given.repeats,
        "warm_up": 2 if given.quick else 10,
        "frames": str(folder / "frames.npz"),
        "written": written,
    }
    with tempfile.TemporaryDirectory(prefix="swmjax-benchmark-") as exchange:
        reference = run_reference(given.reference_python, "reference_loader.py", settings, Path(exchange))
    report.facts("Machine", machine() | {"reference": reference["versions"] if reference else NOT_MEASURED})

    progress("decoders")
    rows = np.concatenate(needed(windows(readers["lance"]), True, 2 if given.quick else 16))
    table = readers["lance"]._take(["pixels"], rows).column("pixels").to_pylist()
    out = np.empty((BATCH * NUM_STEPS, size, size, 3), np.uint8)
    decoding = {name: None if do is None else runs.of(do) for name, do in decoders(table, out)}
    report.table(
        f"One core, frames of {size} x {size} px of {np.mean([len(file) for file in table]) / 1e3:.1f} kB, decoded",
        ["decoder", "frames/s"],
        [[name, NOT_MEASURED if rate is None else rate.rate()] for name, rate in decoding.items()],
    )
    frames = next(rate.best for rate in decoding.values() if rate is not None)
    limit = threads() * frames / NUM_STEPS

    progress("loaders")
    device = jax.devices()[0]
    mapped = decoded(readers["lance"], folder / "snapshot")
    ours = {
        ("lance", True): runs.loader(windows(readers["lance"])),
        ("lance", False): runs.loader(windows(readers["lance"]), shuffle=False),
        ("hdf5", True): runs.loader(windows(readers["hdf5"])),
        ("hdf5", False): runs.loader(windows(readers["hdf5"]), shuffle=False),
        ("lance, on the device", True): runs.loader(windows(readers["lance"]), device=device),
        ("snapshot", True): runs.loader(windows(mapped)),
        ("snapshot", False): runs.loader(windows(mapped), shuffle=False),
    }
    theirs: dict[tuple[str, bool], tuple[Rate, int]] = {}
    for one in reference["loading"] if reference else ():
        key, rate = (one["format"], one["shuffle"]), Rate(tuple(one["seconds"]), tuple(one["work"]))
        if key not in theirs or rate.best > theirs[key][0].best:
            theirs[key] = rate, one["workers"]
    lines = []
    for (name, shuffle), rate in ours.items():
        beside = theirs.get((name.partition(",")[0], shuffle))
        share = f"{rate.best / limit:.0%}" if name.startswith("lance") and shuffle else NOT_MEASURED
        line = [name, "shuffled" if shuffle else "in order", rate.rate(), rate.cpu()]
        if beside is None:
            lines.append([*line, NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, share])
        else:
            found, workers = beside
            ratio = f"{rate.best / found.best:.2f}x"
            lines.append([*line, f"{found.rate()}, {workers} workers", found.cpu(), ratio, share])
    report.table(
        f"Clips of {NUM_STEPS} frames, {FRAMESKIP} rows apart, in batches of {BATCH}; {given.episodes} episodes",
        ["source", "order", "clips/s", "CPU ms/clip", "reference", "CPU ms/clip", "ratio", "of all cores' decoding"],
        lines,
    )
    report.line(
        f"All {threads()} cores decode the frames of {limit:,.0f} shuffled clips a second, if they do nothing else. "
        "The reference is shown with the number of workers that is best for it."
    )

    progress("what bounds it")
    report.table(
        "What bounds it: CPU ms of a batch, and of its parts, each measured by itself",
        ["source", "whole", "decode", "fetch", "copy", "loader"],
        [
            bounds("lance, shuffled", readers["lance"], True, runs),
            bounds("lance, in order", readers["lance"], False, runs),
            bounds("hdf5, shuffled", readers["hdf5"], True, runs),
            bounds("snapshot, shuffled", mapped, True, runs),
        ],
    )

    progress("writers")
    lines = []
    for kind in ("lance", "hdf5"):
        rate = writing(kind, episode, written, folder, given.repeats)
        line = [kind, rate.rate(), rate.cpu(1e6)]
        if reference is None:
            lines.append([*line, *[NOT_MEASURED] * 3])
        else:
            found = Rate(*(tuple(reference["writing"][kind][each]) for each in ("seconds", "work")))
            lines.append([*line, found.rate(), found.cpu(1e6), f"{rate.best / found.best:.2f}x"])
    report.table(
        "Writing frames that are in memory",
        ["format", "frames/s", "CPU us/frame", "reference", "CPU us/frame", "ratio"],
        lines,
    )

    progress("a table of many rows")
    long = folder / f"long-{given.rows}.lance"
    if not long.exists():
        make_long(long, given.rows)
    opening = measure(lambda: windows(format_of(long).reader(long), ("pixels", "action")) and 1, 0.0, given.repeats, 1)
    report.line(f"Opened, with {given.rows:,} rows in {given.rows // 100:,} episodes: {spread(opening.seconds, 2)} s")

    progress("memory")
    report.line(f"Memory: {memory_slope(windows(readers['lance']), given.batches)}")

    progress("an S3 server")
    try:
        lines = remote(datasets, 2 if given.quick else 20)
    except BaseException as error:
        if type(error).__name__ != "Skipped":
            raise
        lines = []
    report.table("From an S3 server on this machine (moto), clips/s", ["source", "cold", "warm"], lines)
    report.close()


if __name__ == "__main__":
    main()
