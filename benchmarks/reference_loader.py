"""The reference's side of loader.py: its datasets in PyTorch's loader, and its writers; runs in its environment."""

import json
import os
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np


def open_dataset(path: str, settings: dict):
    """The reference's windows of a dataset."""
    from stable_worldmodel.data.formats.hdf5 import HDF5Dataset
    from stable_worldmodel.data.formats.lance import LanceDataset

    kind = LanceDataset if path.endswith(".lance") else HDF5Dataset
    return kind(
        path=path,
        num_steps=settings["num_steps"],
        frameskip=settings["frameskip"],
        keys_to_load=list(settings["columns"]),
    )


def work(pids: list[int]) -> float:
    """CPU seconds of this process, and of others."""
    seconds = time.process_time()
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def rates(path: str, shuffle: bool, workers: int, settings: dict) -> dict[str, list[float]]:
    """Seconds, and CPU seconds, a clip, in each of the repeats."""
    from torch.utils.data import DataLoader

    options = {"persistent_workers": True} if workers else {}
    loader = DataLoader(
        open_dataset(path, settings),
        batch_size=settings["batch_size"],
        shuffle=shuffle,
        drop_last=True,
        num_workers=workers,
        **options,
    )

    def endless():
        while True:
            yield from loader

    batches = endless()
    for _ in range(settings["warm_up"]):
        next(batches)
    iterator = loader._iterator
    pids = [] if iterator is None else [process.pid for process in iterator._workers]
    figures = {"seconds": [], "work": []}
    for _ in range(settings["repeats"]):
        clips, start, begun = 0, time.perf_counter(), work(pids)
        while time.perf_counter() - start < settings["seconds"]:
            next(batches)
            clips += settings["batch_size"]
        figures["seconds"].append((time.perf_counter() - start) / clips)
        figures["work"].append((work(pids) - begun) / clips)
    return figures


def writing(kind: str, settings: dict, folder: Path) -> dict[str, list[float]]:
    """Seconds, and CPU seconds, a frame of writing episodes that are in memory."""
    from stable_worldmodel.data.formats.hdf5 import HDF5Writer
    from stable_worldmodel.data.formats.lance import LanceWriter

    given = np.load(settings["frames"])
    episode = {name: list(given[name]) for name in given.files}
    length, count = len(episode["pixels"]), settings["written"]
    figures = {"seconds": [], "work": []}
    for repeat in range(settings["repeats"] + 1):
        target = folder / ("written.lance" if kind == "lance" else "written.h5")
        start, begun = time.perf_counter(), time.process_time()
        with (LanceWriter if kind == "lance" else HDF5Writer)(str(target), mode="overwrite") as writer:
            writer.write_episodes([episode] * count)
        if repeat:  # the first round warms up
            figures["seconds"].append((time.perf_counter() - start) / (count * length))
            figures["work"].append((time.process_time() - begun) / (count * length))
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    return figures


def main(folder: Path) -> None:
    """Measure every loader and writer that was asked for."""
    settings = json.loads((folder / "settings.json").read_text())
    loading = [
        {"format": name, "shuffle": shuffle, "workers": workers, **rates(path, shuffle, workers, settings)}
        for name, path in settings["datasets"].items()
        for shuffle in (True, False)
        for workers in settings["workers"]
    ]
    result = {
        "loading": loading,
        "writing": {kind: writing(kind, settings, folder) for kind in ("lance", "hdf5")},
        "versions": ", ".join(f"{name} {version(name)}" for name in ("stable-worldmodel", "torch", "pylance", "h5py")),
    }
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
