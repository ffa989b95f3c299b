"""Batches of windows for a training loop: shuffled, prepared ahead in threads, continued where it was left."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from envs_mjx.checks import UserError, check_flag, check_whole, needs_extra
from swmjax.data.buffers import Buffers
from swmjax.data.windows import Dataset

Batch = dict[str, Any]
State = dict[str, np.ndarray]
_ON_DEVICE = 2
"""Batches that are on the device, or on their way there: one that is worked on and one that comes next."""


class Loader:
    """Batches of the windows of a dataset.

    Every epoch has all windows, in an order that the seed and the number of the epoch tell. A batch depends on nothing
    but the dataset, `batch_size`, `shuffle`, the seed and its own number: not on how many threads prepare batches, nor
    on what was loaded before. Threads read and decode; nothing is forked.

    Each process of a program for many hosts gets its own part of every batch, [batch_size / processes, ...]. Which
    windows a batch has does not depend on their number, but what the dataset draws does.

    Batches are dictionaries of arrays by column. Images, which windows hold channels first, stand height first,
    [B, T, H, W, C] of uint8, as environments render them. On a device numbers of 64 bits become such of 32, unless JAX
    is told to keep them; texts stay on the host.

    Args:
        dataset: Where windows come from; it must not change meanwhile.
        batch_size: Windows in a batch, of all processes together.
        shuffle: Whether windows come in another order than that of the dataset.
        seed: Of the order, and of what the dataset itself draws, such as goals.
        epochs: How often all windows come; without end if None.
        drop_remainder: Whether windows that do not fill a batch are left out; else the last batch is smaller.
        device: Where batches go: a device, or a sharding of their first axis; they stay on the host if None.
        ahead: Batches that are prepared meanwhile, each in a thread of its own.
        shard: Which process this is, and of how many; JAX says it if None.

    Raises:
        UserError: A number is out of range, or there are not enough windows for one batch.
        MissingExtraError: grain is not installed; the message says how to install it.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        epochs: int | None = None,
        drop_remainder: bool = True,
        device: Any = None,
        ahead: int = 2,
        shard: tuple[int, int] | None = None,
    ):
        check_whole("batch_size", batch_size, 1)
        check_whole("seed", seed, 0)
        check_whole("ahead", ahead, 1)
        check_flag("shuffle", shuffle)
        check_flag("drop_remainder", drop_remainder)
        if epochs is not None:
            check_whole("epochs", epochs, 1)
        part, parts = _processes() if shard is None else shard
        check_whole("the second number of shard", parts, 1)
        check_whole("the first number of shard", part, 0, parts - 1)
        if batch_size % parts:
            raise UserError(f"batch_size must be a multiple of the number of processes ({parts}), got {batch_size}")
        if parts > 1 and not drop_remainder:
            raise UserError("drop_remainder must be true for more than one process; the last batch has no equal parts")
        if len(dataset) < (batch_size if drop_remainder else 1):
            raise UserError(f"the dataset has {len(dataset)} windows, which do not fill a batch of {batch_size}")
        self.dataset, self.batch_size, self.shuffle, self.seed = dataset, batch_size, shuffle, seed
        self.epochs, self.drop_remainder, self.device, self.ahead = epochs, drop_remainder, device, ahead
        self._part = part * batch_size // parts, (part + 1) * batch_size // parts
        self._buffers = Buffers(lambda: dataset.empty(batch_size // parts))
        self.source = _grain().MapDataset.range(len(self)).repeat(epochs).map_with_index(self._load)
        """Batches by number, as a dataset of Grain's, to which more of its transformations may be added."""

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_remainder)

    def __iter__(self) -> Batches:
        """All batches from the first one on."""
        return Batches(self)

    def _load(self, number: int, _: Any = None) -> Batch:
        """A batch by its number."""
        first, last = self._part
        indices = self._indices(number)[first:last]
        whole = len(indices) == last - first
        found = self.dataset.seeded(self.seed, number, first).batch(indices, self._buffers.take() if whole else None)
        return {name: _height_first(array) for name, array in found.items()}

    def _indices(self, number: int) -> list[int]:
        """Numbers of the windows of a batch, of all processes together."""
        epoch, batch = divmod(number, len(self))
        places = range(batch * self.batch_size, min((batch + 1) * self.batch_size, len(self.dataset)))
        if not self.shuffle:
            return list(places)
        order, last = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]), len(self.dataset) - 1
        shuffled = _grain().experimental.index_shuffle
        return [shuffled(place, max_index=last, seed=order, rounds=4) for place in places]


class Batches(Iterator[Batch]):
    """The batches of a `Loader`, one after the other; close it, or let it go, to end its threads.

    Args:
        loader: What they are batches of.
    """

    def __init__(self, loader: Loader):
        grain = _grain()
        self._loader = loader
        options = grain.ReadOptions(num_threads=loader.ahead, prefetch_buffer_size=loader.ahead)
        self._host = iter(loader.source.to_iter_dataset(options))
        self._fetched = self._number = 0
        self._coming: collections.deque[Batch] = collections.deque()

    def __next__(self) -> Batch:
        if self._loader.device is None:
            batch = self._fetch()
        else:
            while len(self._coming) < _ON_DEVICE:
                try:
                    self._coming.append(on_device(self._fetch(), self._loader.device))
                except BaseException:
                    if not self._coming:
                        raise
                    break  # it comes again, when those before it have been given
            batch = self._coming.popleft()
        self._number += 1
        return batch

    def _fetch(self) -> Batch:
        try:
            batch = next(self._host)
        except StopIteration:
            raise
        except BaseException:
            self._begin_at(self._fetched)  # Grain would go on behind the batch that failed
            raise
        self._fetched += 1
        return batch

    def _begin_at(self, number: int) -> None:
        self._host.set_state({"next_index": number})
        self._fetched = number

    def get_state(self) -> State:
        """Where to go on: a pytree of a few numbers, for Orbax or any other format."""
        loader = self._loader
        numbers = {
            "batch": self._number,
            "batch_size": loader.batch_size,
            "seed": loader.seed,
            "shuffle": loader.shuffle,
            "windows": len(loader.dataset),
        }
        return {name: np.asarray(number, np.int64) for name, number in numbers.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, from a loader of the same batches, on however many processes.

        Raises:
            UserError: It is none, or that of other batches.
        """
        expected = self.get_state()
        if set(state) != set(expected):
            raise UserError(f"a loader's state has {', '.join(expected)}; got {', '.join(map(str, state))}")
        for name, value in expected.items():
            if name != "batch" and int(state[name]) != int(value):
                raise UserError(f"the state is of a loader with {name} {int(state[name])}; this one has {int(value)}")
        last = len(self._loader.source)
        check_whole("the batch of a loader's state", int(state["batch"]), 0, last)
        self._coming.clear()
        self._number = int(state["batch"])
        self._begin_at(self._number)

    def close(self) -> None:
        """End the threads that prepare batches."""
        self._coming.clear()
        self._host.close()

    def __enter__(self) -> Batches:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def on_device(batch: Mapping[str, Any], device: Any) -> Batch:
    """A batch on a device; the copy goes on while the caller does.

    Args:
        batch: Arrays by name; texts stay where they are.
        device: A device, or a sharding; one that spans processes makes arrays of all their batches together.
    """
    import jax

    arrays = {name: array for name, array in batch.items() if array.dtype != object}
    if isinstance(device, jax.sharding.Sharding) and not device.is_fully_addressable:
        moved: Any = {name: jax.make_array_from_process_local_data(device, array) for name, array in arrays.items()}
    else:
        moved = jax.device_put(arrays, device)
    return {name: moved.get(name, array) for name, array in batch.items()}


def _height_first(array: np.ndarray) -> np.ndarray:
    """Images of windows, [B, T, C, H, W], as [B, T, H, W, C]; other arrays as they are."""
    if array.dtype != np.uint8 or array.ndim != 5 or array.shape[2] not in (1, 3):
        return array
    return np.moveaxis(array, 2, -1)


def _processes() -> tuple[int, int]:
    import jax

    return jax.process_index(), jax.process_count()


def _grain() -> Any:
    with needs_extra("loaders need", "data"):
        import grain
    return grain
