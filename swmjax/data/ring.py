"""Replay on the device: rings of rows that overwrite the oldest ones in place, and what is sampled from them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key, UInt32

from envs_mjx.checks import UserError, check_whole
from swmjax.data.clips import ACTION


@chex.dataclass(frozen=True)
class Ring:
    """Rows in a ring, each for itself, such as steps that hold the observation after them as well.

    Attributes:
        data: Pytree with leaves [capacity, ...].
        position: Where the next rows go.
        size: Rows that it holds.
    """

    data: Any
    position: Int[Array, ""]
    size: Int[Array, ""]

    @classmethod
    def empty(cls, row: Any, capacity: int) -> "Ring":
        """A ring without rows.

        Args:
            row: One row, or its shapes and dtypes.
            capacity: Rows that it holds, a multiple of the number that is inserted at once.
        """
        data = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), row)
        return cls(data=data, position=jnp.zeros((), jnp.int32), size=jnp.zeros((), jnp.int32))

    def insert(self, rows: Any) -> "Ring":
        """Write rows, leaves [count, ...], in the place of the oldest ones."""
        count, capacity = (jax.tree.leaves(tree)[0].shape[0] for tree in (rows, self.data))
        assert capacity % count == 0
        data = jax.tree.map(
            lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, self.position, 0), self.data, rows
        )
        return Ring(
            data=data, position=(self.position + count) % capacity, size=jnp.minimum(self.size + count, capacity)
        )

    def sample(self, key: Key[Array, ""], count: int) -> Any:
        """Uniformly drawn rows, with replacement; there must be some."""
        chosen = jax.random.randint(key, (count,), 0, self.size)
        return jax.tree.map(lambda leaf: leaf[chosen], self.data)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EpisodeRing:
    """Whole episodes in a ring, from which clips are sampled that lie within one of them; `ReplayBuffer` on the device.

    Where episodes do not fit any more, the oldest ones go, each as a whole. All of it may be jitted, vectorised and
    scanned over.

    Attributes:
        data: Columns by name, [capacity, ...] each.
        left: Rows from each to the end of its episode, itself included.
        before: Clips that began before each row, of all that were ever inserted; wraps around.
        clips: Clips of all that were ever inserted; wraps around.
        first: Where the oldest row is.
        size: Rows that it holds.
        history_len: Steps of a clip.
        frameskip: Rows from one step to the next.
    """

    data: Mapping[str, Any]
    left: Int[Array, " R"]
    before: UInt32[Array, " R"]
    clips: UInt32[Array, ""]
    first: Int[Array, ""]
    size: Int[Array, ""]
    history_len: int = field(metadata={"static": True})
    frameskip: int = field(metadata={"static": True})

    @classmethod
    def empty(cls, row: Mapping[str, Any], capacity: int, history_len: int = 1, frameskip: int = 1) -> "EpisodeRing":
        """A ring without episodes.

        Args:
            row: Columns of one row by name, or their shapes and dtypes.
            capacity: Rows that it holds at most.
            history_len: Steps of a clip.
            frameskip: Rows from one step to the next; `action` stays dense, [history_len, frameskip * A].

        Raises:
            UserError: A number is out of range.
        """
        for name, value in (("capacity", capacity), ("history_len", history_len), ("frameskip", frameskip)):
            check_whole(f"EpisodeRing.{name}", value, 1)
        data = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), dict(row))
        zero = jnp.zeros((), jnp.int32)
        return cls(
            data=data,
            left=jnp.zeros((capacity,), jnp.int32),
            before=jnp.zeros((capacity,), jnp.uint32),
            clips=jnp.zeros((), jnp.uint32),
            first=zero,
            size=zero,
            history_len=history_len,
            frameskip=frameskip,
        )

    @property
    def capacity(self) -> int:
        """Rows that it holds at most."""
        return self.left.shape[0]

    def insert(self, episodes: Mapping[str, Any], lengths: Int[Array, " B"] | None = None) -> "EpisodeRing":
        """Add episodes, one after the other.

        Args:
            episodes: Columns by name, [B, T, ...].
            lengths: Rows of each that count, 0 to T; all T if None.

        Raises:
            UserError: They might not fit, all of them together, into an empty ring.
        """
        count, rows = jax.tree.leaves(episodes)[0].shape[:2]
        if count * rows > self.capacity:
            raise UserError(f"{count} episodes of {rows} rows do not fit into a ring of {self.capacity}")
        lengths = jnp.full((count,), rows, jnp.int32) if lengths is None else lengths.astype(jnp.int32)
        left = (lengths[:, None] - jnp.arange(rows)[None, :]).reshape(-1)
        there = left > 0
        begins = (left >= self.history_len * self.frameskip) & there
        new, clips = there.sum(dtype=jnp.int32), jnp.cumsum(begins.astype(jnp.uint32))
        places = (self.first + self.size + jnp.cumsum(there) - 1) % self.capacity
        places = jnp.where(there, places, self.capacity)

        def written(old: Array, values: Array) -> Array:
            return old.at[places].set(values, mode="drop")

        flat = jax.tree.map(lambda leaf: leaf.reshape(count * rows, *leaf.shape[2:]), dict(episodes))
        gone = self._gone(new)
        return dataclasses.replace(
            self,
            data=jax.tree.map(written, self.data, flat),
            left=written(self.left, left),
            before=written(self.before, self.clips + clips - begins),
            clips=self.clips + clips[-1],
            first=(self.first + gone) % self.capacity,
            size=self.size - gone + new,
        )

    def _gone(self, new: Int[Array, ""]) -> Int[Array, ""]:
        """Rows of the episodes that go to make room for new rows."""
        more = jnp.maximum(self.size + new - self.capacity, 0)
        last = self.left[(self.first + more - 1) % self.capacity]
        return jnp.where(more > 0, more + last - 1, 0)

    def count(self) -> Int[Array, ""]:
        """Clips that it holds."""
        return jnp.where(self.size > 0, self.clips - self.before[self.first % self.capacity], 0).astype(jnp.int32)

    def sample(self, key: Key[Array, ""], count: int) -> dict[str, Any]:
        """Uniformly drawn clips, with replacement; there must be some, see `count`.

        Returns:
            Columns by name, [count, history_len, ...]; `action` [count, history_len, frameskip * A].
        """
        return self.clip(jax.random.randint(key, (count,), 0, self.count()))

    def clip(self, numbers: Int[Array, " B"]) -> dict[str, Any]:
        """Clips by number, the oldest first, as `ReplayBuffer` numbers them; see `sample`."""
        starts = self.first + self._row(numbers)
        span = self.history_len * self.frameskip
        found = {}
        for name, column in self.data.items():
            steps = jnp.arange(0, span, 1 if name == ACTION else self.frameskip)
            rows = (starts[:, None] + steps[None, :]) % self.capacity
            found[name] = jax.tree.map(lambda leaf, rows=rows: leaf[rows], column)
        if ACTION in found:
            found[ACTION] = found[ACTION].reshape(len(numbers), self.history_len, -1)
        return found

    def _row(self, numbers: Int[Array, " B"]) -> Int[Array, " B"]:
        """Where clips begin, counted from the oldest row: the last row before which no more clips than that began."""
        base = self.before[self.first]

        def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bounds
            middle = (low + high + 1) // 2
            begun = self.before[(self.first + middle) % self.capacity] - base
            fits: Bool[Array, " B"] = begun <= numbers.astype(jnp.uint32)
            return jnp.where(fits, middle, low), jnp.where(fits, high, middle - 1)

        low, high = jnp.zeros_like(numbers), jnp.broadcast_to(self.size - 1, numbers.shape).astype(numbers.dtype)
        return jax.lax.fori_loop(0, self.capacity.bit_length(), halve, (low, high))[0]
