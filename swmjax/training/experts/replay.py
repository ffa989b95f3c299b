"""A replay buffer that overwrites its oldest entries in place.

Brax' queue moves all its data at every insertion once it is full; this one writes where the oldest entries are.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key


@chex.dataclass(frozen=True)
class Replay:
    """Entries in a ring.

    Attributes:
        data: Pytree with leaves [capacity, ...].
        position: Where the next entries go.
        size: Entries that were written.
    """

    data: Any
    position: Int[Array, ""]
    size: Int[Array, ""]

    @classmethod
    def empty(cls, entry: Any, capacity: int) -> "Replay":
        """A buffer without entries.

        Args:
            entry: One entry, or its shapes and dtypes.
            capacity: Entries that it holds, a multiple of the number that is inserted at once.
        """
        data = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), entry)
        return cls(data=data, position=jnp.zeros((), jnp.int32), size=jnp.zeros((), jnp.int32))

    def insert(self, entries: Any) -> "Replay":
        """Write entries with a leading axis."""
        count, capacity = (jax.tree.leaves(tree)[0].shape[0] for tree in (entries, self.data))
        assert capacity % count == 0
        data = jax.tree.map(
            lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, self.position, 0), self.data, entries
        )
        return Replay(
            data=data, position=(self.position + count) % capacity, size=jnp.minimum(self.size + count, capacity)
        )

    def sample(self, key: Key[Array, ""], count: int) -> Any:
        """Uniformly drawn entries, with replacement; there must be some."""
        chosen = jax.random.randint(key, (count,), 0, self.size)
        return jax.tree.map(lambda leaf: leaf[chosen], self.data)
