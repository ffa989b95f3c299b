"""Damaged and hostile `.pt` files, read in a process of its own: there nothing slows the reader down.

`python hostile.py FOLDER COUNT` reads COUNT damaged files and all bombs, and prints what it found as JSON.
"""

from __future__ import annotations

import io
import json
import random
import resource
import struct
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from swmjax.checkpoints import CheckpointError, read_state_dict
from swmjax.checkpoints.torch import pickle_subset

GOLDEN = Path(__file__).parents[2] / "golden"
ORIGINS = (
    *(GOLDEN / "torch_archives" / f"{name}.pt" for name in ("dtypes", "views", "module", "parameters")),
    GOLDEN / "torch_archives" / "lightning.bad.pt",
)
MEMORY = 192 * 2**20
"""Bytes of address space that reading may take."""
OPCODES = b"(NKJGX)t]ae}sucQRbqrhj.\x80\x85\x86\x87\x88\x89\x8aMIilodpPg0123FSUVT\x81\x82\x8c\x8e\x93\x94\x95"


PATHS = ("../../etc/passwd", "/etc/passwd", "C:\\x", "a/../data.pkl", "", "data.pkl", "x\0y", "é" * 90)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def flipped(draw: random.Random, data: bytes) -> bytes:
    """A few bytes set to something else."""
    damaged = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        damaged[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    return bytes(damaged)


def cut(draw: random.Random, data: bytes) -> bytes:
    """The end, the beginning or a piece missing, or a piece twice."""
    first, last = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    return draw.choice((data[:first], data[first:], data[:first] + data[last:], data[:last] + data[first:]))


def numbered(draw: random.Random, data: bytes) -> bytes:
    """A four-byte or eight-byte number anywhere made huge, zero or negative."""
    layout = draw.choice(("<I", "<Q"))
    size = struct.calcsize(layout)
    place = draw.randrange(len(data) - size)
    value = draw.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 10 * 2**30)) % 2 ** (8 * size)
    return data[:place] + struct.pack(layout, value) + data[place + size :]


def rewritten(change: Callable[[random.Random, bytes], bytes]) -> Callable[[random.Random, bytes], bytes]:
    """The pickle inside changed, in an archive that is sound around it."""

    def rewrite(draw: random.Random, data: bytes) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
            for info in old.infolist():
                content = old.read(info)
                new.writestr(info.filename, change(draw, content) if info.filename.endswith("data.pkl") else content)
        return made.getvalue()

    return rewrite


def reprogrammed(draw: random.Random, pickled: bytes) -> bytes:
    """Opcodes put in, taken out or repeated many times."""
    place = draw.randrange(2, len(pickled))
    codes = bytes(draw.choice(OPCODES) for _ in range(draw.choice((1, 2, 8))))
    return pickled[:place] + codes * draw.choice((1, 1, 1, 50, 20_000)) + pickled[place + draw.choice((0, 1, 4)) :]


def renamed(draw: random.Random, data: bytes) -> bytes:
    """A member under a name that leads elsewhere, twice, or compressed."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        infos = old.infolist()
        chosen = draw.choice(infos)
        for info in infos:
            name, kind = info.filename, zipfile.ZIP_STORED
            if info is chosen:
                path = draw.choice(
                    ("../../etc/passwd", "/etc/passwd", "C:\\x", "a/../data.pkl", "", "data.pkl", "x\0y", "é" * 90)
                )
                name = draw.choice((path, name.split("/")[0] + "/" + path, name + "/", name))
                kind = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            new.writestr(zipfile.ZipInfo(name), old.read(info), kind)
    return made.getvalue()


MUTATIONS = (
    flipped,
    cut,
    numbered,
    rewritten(flipped),
    rewritten(cut),
    rewritten(numbered),
    rewritten(reprogrammed),
    renamed,
)


def mutants(count: int) -> Iterator[tuple[str, bytes]]:
    originals = [path.read_bytes() for path in ORIGINS]
    for index in range(count):
        draw = random.Random(index)
        mutation = MUTATIONS[index % len(MUTATIONS)]
        yield f"{mutation.__qualname__} {index}", mutation(draw, draw.choice(originals))


def archive(path: Path, pickled: bytes, **members: bytes) -> bytes:
    with zipfile.ZipFile(path, "w") as made:
        for name, data in {"data.pkl": pickled, "byteorder": b"little", **members}.items():
            made.writestr(f"x/{name}", data)
    return path.read_bytes()


def tensor(count: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    def integers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"

    number = integers((count,))[1:-1]
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number + b"tQ"
    empty = b"ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"K\x00"
        + integers(shape)
        + integers(strides)
        + b"\x89"
        + empty
        + b"tR"
    )


LIMIT = 8 * 2**20 - 64
BOMBS: dict[str, bytes] = {
    "marks": b"\x80\x02" + b"(" * LIMIT + b".",
    "empty lists": b"\x80\x02" + b"]" * LIMIT + b".",
    "nested tuples": b"\x80\x02N" + b"\x85" * LIMIT + b".",
    "doubled tuples": b"\x80\x02N" + b"q\x00h\x00\x86" * (LIMIT // 5) + b".",
    "doubled lists": b"\x80\x02]" + b"q\x00h\x00\x86]q\x01h\x00a" * 1000 + b".",
    "a list in itself": b"\x80\x02]q\x00" + b"h\x00a" * (LIMIT // 3) + b".",
    "memo": b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", i) for i in range(LIMIT // 5)) + b".",
    "a long string": b"\x80\x02X" + struct.pack("<I", LIMIT) + b"a" * LIMIT + b".",
    "a string of 4 GB": b"\x80\x02X\xff\xff\xff\xffabc.",
    "a huge number": b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".",
    "many numbers": b"\x80\x02" + b"\x8a\xff" * (LIMIT // 2) + b".",
    "10 GB declared": b"\x80\x02}" + text("w") + tensor(10 * 2**28, (10 * 2**28,), (1,)) + b"s.",
    "10 GB by strides": b"\x80\x02}" + text("w") + tensor(6, (10 * 2**28,), (0,)) + b"s.",
    "an empty tensor of 2 ** 60": b"\x80\x02}" + text("w") + tensor(6, (0, 2**60), (1, 1)) + b"s.",
    "many empty dicts": b"\x80\x02" + b"}0" * (LIMIT // 2) + b".",
    "many storages": b"\x80\x02(" + tensor(6, (6,), (1,)) * 50_000 + b"t.",
}


class Opcodes:
    """How many opcodes were carried out."""

    def __init__(self) -> None:
        self.done = 0
        counted = {code: self.counted(operation) for code, operation in pickle_subset._OPERATIONS.items()}
        pickle_subset._OPERATIONS.update(counted)

    def counted(self, operation: Callable[[object], None]) -> Callable[[object], None]:
        def run(machine: object) -> None:
            self.done += 1
            operation(machine)

        return run


def read(path: Path, data: bytes) -> tuple[str, float]:
    """What became of a file, and the seconds of this process that it took."""
    path.write_bytes(data)
    begin = time.process_time()
    try:
        found = read_state_dict(path)
    except CheckpointError as error:
        told = "refused" if "\n" not in str(error) else "told in several lines"
    except BaseException as error:
        told = f"raised {type(error).__name__}"
    else:
        plain = all(isinstance(name, str) and isinstance(array, np.ndarray) for name, array in found.items())
        told = "read" if plain else "gave something else"
        for array in found.values():
            if array.nbytes < 2**20:
                array.tobytes()
    seconds = time.process_time() - begin
    path.unlink()
    return told, seconds


def zip_bomb() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x/data.pkl", "w") as file:
        for _ in range(200):
            file.write(bytes(2**20))
    return made.getvalue()


def many_members() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for index in range(5_000):
            archive.writestr(f"x/data/{index}", b"")
    return made.getvalue()


def main(folder: Path, count: int) -> None:
    warnings.simplefilter("ignore")
    slowest, longest, tally = ("", 0.0), ("", 0), dict[str, list[str]]()
    path, opcodes = folder / "w.pt", Opcodes()

    def account(label: str, data: bytes) -> None:
        nonlocal slowest, longest
        opcodes.done = 0
        told, seconds = read(path, data)
        tally.setdefault(told, []).append(label)
        slowest = max(slowest, (label, seconds), key=lambda pair: pair[1])
        longest = max(longest, (label, opcodes.done), key=lambda pair: pair[1])

    account("whole", ORIGINS[0].read_bytes())
    # More than this is a MemoryError. The largest pickle that is read has 8 MiB, and its values become objects.
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for label, data in mutants(count):
        account(label, data)
    for name, pickled in BOMBS.items():
        account(name, archive(folder / "made.pt", pickled, **{"data/0": np.arange(6, dtype="<f4").tobytes()}))
    account("zip bomb", zip_bomb())
    account("many members", many_members())
    counts = {told: len(labels) for told, labels in tally.items()}
    wrong = {told: labels[:5] for told, labels in tally.items() if told not in ("read", "refused")}
    survived = [label for label in tally["read"] if label in BOMBS or label in ("zip bomb", "many members")]
    print(json.dumps({"counts": counts, "wrong": wrong, "survived": survived, "slowest": slowest, "longest": longest}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
