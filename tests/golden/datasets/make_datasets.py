"""Cuts small datasets, and a window of each, out of those that the reference wrote.

Usage: make_datasets.py FOLDER, where FOLDER holds `pusht_weak.h5`, `pusht_weak_folder`, `pusht_weak_video`,
`pusht_weak_lance_video` and `window7_*.npz` as the reference made them. Of the first two episodes the first rows are
kept, with their pictures. The HDF5 file is written as older recorders of the reference wrote the public datasets of
LeWM: compressed by Blosc, in chunks of 100 rows, paged, to be read while it was written, and with `ep_idx`.
"""

import shutil
import sys
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

HERE = Path(__file__).parent
LENGTHS = np.array([30, 21])


def kept(lengths: np.ndarray) -> np.ndarray:
    """Rows that are kept."""
    return np.concatenate([np.arange(LENGTHS[0]), lengths[0] + np.arange(LENGTHS[1])])


def cut_hdf5(source: Path) -> None:
    target = HERE / "lewm_like.h5"
    target.unlink(missing_ok=True)
    with (
        h5py.File(source) as old,
        h5py.File(target, "w", libver="latest", fs_strategy="page", fs_page_size=4096) as new,
    ):
        rows = kept(old["ep_len"][:])
        blosc = hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE)
        for name, column in old.items():
            if name in ("ep_len", "ep_offset"):
                continue
            data = column[:][rows]
            options = {"chunks": (100, *data.shape[1:]), "compression": blosc} if data.ndim > 1 else {"chunks": (1000,)}
            new.create_dataset(name, data=data, maxshape=(None, *data.shape[1:]), **options)
        for name, data in (
            ("ep_idx", np.repeat([0, 1], LENGTHS).astype(np.int32)),
            ("ep_len", LENGTHS.astype(np.int32)),
            ("ep_offset", np.array([0, LENGTHS[0]])),
        ):
            new.create_dataset(name, data=data, maxshape=(None,), chunks=(1000,))
        new.swmr_mode = True


def cut_folder(source: Path) -> None:
    target = HERE / source.name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    rows = kept(np.load(source / "ep_len.npz")["arr_0"])
    for entry in source.iterdir():
        if entry.suffix == ".npz" and not entry.stem.startswith("ep_"):
            np.savez(target / entry.name, np.load(entry)["arr_0"][rows])
        elif entry.is_dir():
            (target / entry.name).mkdir()
            for episode, length in enumerate(LENGTHS):
                for file in entry.glob(f"ep_{episode}.mp4"):
                    shutil.copyfile(file, target / entry.name / file.name)
                for step in range(length):
                    for file in entry.glob(f"ep_{episode}_step_{step}.jpeg"):
                        shutil.copyfile(file, target / entry.name / file.name)
    np.savez(target / "ep_len.npz", LENGTHS.astype(np.int32))
    np.savez(target / "ep_offset.npz", np.array([0, LENGTHS[0]]))


def main(source: Path) -> None:
    cut_hdf5(source / "pusht_weak.h5")
    cut_folder(source / "pusht_weak_folder")
    cut_folder(source / "pusht_weak_video")
    shutil.rmtree(HERE / "pusht_weak_lance_video", ignore_errors=True)
    shutil.copytree(source / "pusht_weak_lance_video", HERE / "pusht_weak_lance_video", copy_function=shutil.copyfile)
    for name in ("hdf5", "folder"):
        shutil.copyfile(source / f"window7_{name}.npz", HERE / f"window7_{name}.npz")
    with h5py.File(source / "pusht_weak.h5") as file:
        frames = {name: file[name][: LENGTHS[0]] for name in ("pixels", "goal")}
    np.savez_compressed(HERE / "frames.npz", **frames)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
