"""The order in which the solver visits touching pairs.

Ten iterations do not converge when several contacts press on one body, so the order of the pairs decides the result.
In the reference that order comes from the life of its bounding-box tree: which leaf sits where, which leaf last left
its enlarged box, and which pair was found last. This module keeps just enough of that tree to know the order: the
enlarged boxes, the path to every leaf, and the time at which every pair was found.

A leaf's path is a bit string (0 left, 1 right), stored left-aligned in `code` with its length in `depth`, so that
sorting by `code` is the depth-first order. Inner boxes need no storage: they are the unions of the leaves below.

Source: Munk2D, the rules of cpBBTree as they bear on the order of collision callbacks.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from envs_mjx.rigid2d.indexing import choose, pick

_MARGIN = float(np.float32(0.1))
"""A box grows by this fraction of its size, and by the way travelled in this time (s), before it is stored."""

_STATIC_TICKS = 16
"""Room for the ranks of static shapes within one leaf's visit."""


@chex.dataclass(frozen=True)
class LeafTree:
    """What is remembered of the tree over the moving shapes. Of the pairs [i, j] of leaves those with i < j count.

    Attributes:
        box: Enlarged box of every leaf: left, bottom, right, top (px).
        code: Left-aligned path of every leaf.
        depth: Length of the path; -1 for an absent leaf.
        wall_time: When the leaf's pairs with static shapes were found.
        pair_time: When the pair of two leaves was found.
        caller: Whether the second leaf of the pair reports it (else the first).
        clock: Steps so far.
    """

    box: Float[Array, "leaves 4 *lanes"]
    code: Int[Array, "leaves *lanes"]
    depth: Int[Array, "leaves *lanes"]
    wall_time: Int[Array, "leaves *lanes"]
    pair_time: Int[Array, "leaves leaves *lanes"]
    caller: Bool[Array, "leaves leaves *lanes"]
    clock: Int[Array, "*lanes"]


class Order(NamedTuple):
    """Sort keys of this step, compared lexicographically: `first` then `second`.

    `wall_second[k, i]` belongs to static shape k and leaf i, `wall_first[i]` to leaf i and any static shape, and
    `pair_*[i, j]` to the leaves i < j. `pair_swapped` says for which of these the engine takes the second leaf as its
    first shape, and visits two contacts the other way round.
    """

    wall_first: Int[Array, "leaves L"]
    wall_second: Int[Array, "statics leaves L"]
    pair_first: Int[Array, "leaves leaves L"]
    pair_second: Int[Array, "leaves leaves L"]
    pair_swapped: Bool[Array, "leaves leaves L"]


def plant(boxes: Float[Array, "leaves 4 L"], present: Bool[Array, "leaves L"]) -> LeafTree:
    """The tree after the leaves were added one by one, at rest, in index order."""
    leaves, lanes = present.shape
    none = jnp.zeros((leaves, lanes), jnp.int32)
    pairs = jnp.zeros((leaves, leaves, lanes), jnp.int32)
    empty = LeafTree(
        box=boxes,
        code=none,
        depth=none - 1,
        wall_time=none,
        pair_time=pairs,
        caller=pairs > 0,
        clock=jnp.zeros((lanes,), jnp.int32),
    )

    def add(leaf, tree):
        leaf = leaf[None]
        grown = _insert(tree, leaf, _enlarge(choose(leaf, boxes), jnp.zeros((2, lanes), boxes.dtype)))
        tree = _where(choose(leaf, present), grown, tree)
        tree = _note_pairs(tree, _here(tree, leaf) & present)
        return tree.replace(clock=tree.clock + 1)

    return jax.lax.fori_loop(0, leaves, add, empty)


def advance(
    tree: LeafTree,
    boxes: Float[Array, "leaves 4 L"],
    velocity: Float[Array, "leaves 2 L"],
    update_order: tuple[int, ...] | Int[Array, "leaves L"],
) -> tuple[LeafTree, Bool[Array, "leaves L"]]:
    """Move the leaves that left their enlarged boxes.

    Args:
        tree: The tree before.
        boxes: Tight box (left, bottom, right, top) of every leaf now.
        velocity: Velocity (x, y) of each leaf's body (px/s).
        update_order: Leaves in the order in which the reference updates them; those left out of a tuple may not move.

    Returns:
        The tree, and for every leaf whether it moved.
    """
    within = (tree.box[:, :2] <= boxes[:, :2]) & (tree.box[:, 2:] >= boxes[:, 2:])
    moved = (tree.depth >= 0) & ~within.all(axis=1)
    if isinstance(update_order, tuple):
        movable, turns = pick(moved, update_order), jnp.asarray(update_order, jnp.int32)[:, None]
    else:
        movable, turns = moved, update_order

    def turn(k, tree):
        leaf = jax.lax.dynamic_index_in_dim(turns, k, keepdims=False)
        now = choose(leaf, moved)

        def reinsert(tree):
            box = _enlarge(choose(leaf, boxes), choose(leaf, velocity))
            return _where(now, _insert(_remove(tree, leaf), leaf, box), tree)

        return jax.lax.cond(now.any(), reinsert, lambda tree: tree, tree)

    def update(tree):
        return _note_pairs(jax.lax.fori_loop(0, turns.shape[0], turn, tree), moved)

    tree = jax.lax.cond(movable.any(), update, lambda tree: tree, tree)
    return tree.replace(clock=tree.clock + 1), moved


def order(tree: LeafTree, moved: Bool[Array, "leaves L"], static_rank: tuple[int, ...]) -> Order:
    """Sort keys for the pairs of this step, given the tree and moved leaves that `advance` returned."""
    leaves = tree.code.shape[0]
    position = _positions(tree)
    latest = (tree.clock + 1) * _ticks_per_step(leaves)
    # A leaf that moved reports at once, statics first; one that stayed goes through its list, latest entry first.
    rank = np.array(static_rank, np.int32)[:, None, None]
    walls = jnp.where(moved[None], rank, latest[None, None] - (tree.wall_time[None] + rank))
    caller = tree.caller
    at_once = _STATIC_TICKS + _climb(tree) * leaves + jnp.where(caller, position[:, None], position[None])
    reporter_moved = jnp.where(caller, moved[None], moved[:, None])
    return Order(
        wall_first=position,
        wall_second=walls,
        pair_first=jnp.where(caller, position[None], position[:, None]),
        pair_second=jnp.where(reporter_moved, at_once, latest[None, None] - tree.pair_time),
        pair_swapped=caller == reporter_moved,
    )


def static_ranks(boxes: tuple[tuple[float, float, float, float], ...]) -> tuple[int, ...]:
    """Depth-first rank of static shapes added in this order; plain Python, done once for a scene."""
    root: _Node | None = None
    for index, box in enumerate(boxes):
        root = _grow(root, _Node(box, index))
    ranks: dict[int, int] = {}
    stack = [root] if root else []
    while stack:
        node = stack.pop()
        if node.index >= 0:
            ranks[node.index] = len(ranks)
        else:
            stack += [node.children[1], node.children[0]]
    return tuple(ranks[i] for i in range(len(boxes)))


def _here(tree, leaf):
    """Flags [leaves, L or 1] of a leaf given by its number [L or 1]."""
    return np.arange(tree.code.shape[0], dtype=np.int32)[:, None] == leaf[None]


def _ticks_per_visit(leaves):
    return _STATIC_TICKS + leaves * leaves


def _ticks_per_step(leaves):
    return leaves * _ticks_per_visit(leaves)


def _where(condition, new, old):
    """Whole trees by a condition [L]."""

    def one(a, b):
        return a if a is b else jnp.where(condition.reshape((1,) * (a.ndim - 1) + condition.shape), a, b)

    return jax.tree.map(one, new, old)


def _enlarge(box, velocity):
    size = (box[2:] - box[:2]) * _MARGIN
    way = velocity * _MARGIN
    return jnp.concatenate([box[:2] + jnp.minimum(-size, way), box[2:] + jnp.maximum(size, way)])


def _levels(leaves):
    return max(leaves - 1, 1)


def _remove(tree, leaf):
    """Take a leaf out: its sibling moves up by one level."""
    own_depth = choose(leaf, tree.depth)
    below = _levels(tree.code.shape[0]) - own_depth
    sibling = (choose(leaf, tree.code) >> below) ^ 1
    parent = (sibling >> 1) << (below + 1)
    inside = tree.code & ((1 << below) - 1)[None]
    lifted = (tree.depth >= own_depth[None]) & ((tree.code >> below[None]) == sibling[None])
    return tree.replace(
        code=jnp.where(lifted, parent[None] | (inside << 1), tree.code),
        depth=jnp.where(_here(tree, leaf), -1, jnp.where(lifted, tree.depth - 1, tree.depth)),
    )


def _insert(tree, leaf, box):
    """Put a leaf beside the leaf that a greedy walk from the root finds."""
    levels, here = _levels(tree.code.shape[0]), _here(tree, leaf)

    def descend(level, walk):
        prefix, length, walking = walk
        under = (tree.depth > level) & ((tree.code >> (levels - level)) == prefix[None])
        right = ((tree.code >> (levels - level - 1)) & 1) == 1
        # Both children of the node at once: [2, leaves, L], and their boxes [2, 4, L].
        inside = (under[None] & (right[None] == np.array([False, True])[:, None, None]))[:, :, None]
        low = jnp.where(inside, tree.box[None, :, :2], jnp.inf).min(axis=1)
        high = jnp.where(inside, tree.box[None, :, 2:], -jnp.inf).max(axis=1)
        grown_low, grown_high = jnp.minimum(low, box[None, :2]), jnp.maximum(high, box[None, 2:])
        cost = _area(low, high)[::-1] + _area(grown_low, grown_high)
        tie = jnp.abs(cost[0] - cost[1]) <= 1e-12 * (cost[0] + cost[1])
        away = jnp.abs(low + high - box[None, :2] - box[None, 2:])
        cost = jnp.where(tie[None], away[:, 0] + away[:, 1], cost)
        # Decide before the next level whether the walk has already met a leaf.
        walking = walking & under.any(axis=0)
        prefix = jnp.where(walking, prefix * 2 + (cost[1] < cost[0]), prefix)
        return prefix, jnp.where(walking, length + 1, length), walking

    zero = jnp.zeros_like(tree.clock)
    prefix, length, _ = jax.lax.fori_loop(0, levels - 1, descend, (zero, zero, zero == 0))
    alone = ~(tree.depth >= 0).any(axis=0)
    below = levels - length
    bit = jnp.where(below > 0, 1 << jnp.maximum(below - 1, 0), 0)
    base = prefix << below
    found = (tree.depth == length[None]) & ((tree.code >> below[None]) == prefix[None])
    code = jnp.where(found, (base | bit)[None], tree.code)
    depth = jnp.where(found, (length + 1)[None], tree.depth)
    return tree.replace(
        code=jnp.where(here, jnp.where(alone, 0, base)[None], code),
        depth=jnp.where(here, jnp.where(alone, 0, length + 1)[None], depth),
        box=jnp.where(here[:, None], box[None], tree.box),
    )


def _note_pairs(tree, moved):
    """Record when and by whom the pairs of the moved leaves are found in this step."""
    leaves = moved.shape[0]
    position = _positions(tree)
    visit = (tree.clock[None] * leaves + position) * _ticks_per_visit(leaves)
    first, second, moved_first, moved_second = position[:, None], position[None], moved[:, None], moved[None]
    # The depth-first earlier leaf finds the pair at its visit if it moved, else the later one does.
    second_later = first < second
    by_second = second_later != jnp.where(second_later, moved_first, moved_second)
    finder, other = jnp.where(by_second, visit[None], visit[:, None]), jnp.where(by_second, first, second)
    touched = moved_first | moved_second
    return tree.replace(
        wall_time=jnp.where(moved, visit, tree.wall_time),
        pair_time=jnp.where(touched, _STATIC_TICKS + _climb(tree) * leaves + finder + other, tree.pair_time),
        caller=jnp.where(touched, second_later, tree.caller),
    )


def _positions(tree):
    """Depth-first rank of every present leaf."""
    earlier = (tree.code[None] < tree.code[:, None]) & (tree.depth >= 0)[None]
    return earlier.sum(axis=1, dtype=jnp.int32)


def _climb(tree):
    """How far up two leaves meet: larger for a common ancestor nearer the root."""
    levels = _levels(tree.code.shape[0])
    # The paths are equal down to where they first differ.
    apart = tree.code[:, None] ^ tree.code[None]
    above = np.arange(levels, dtype=np.int32)[:, None, None, None]
    return ((apart[None] >> above) != 0).sum(axis=0, dtype=jnp.int32)


def _area(low, high):
    """Areas of boxes [*, 2, L]."""
    size = high - low
    return size[:, 0] * size[:, 1]


def _box_area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def _box_proximity(a, b):
    return abs(a[0] + a[2] - b[0] - b[2]) + abs(a[1] + a[3] - b[1] - b[3])


class _Node:
    """A node of the static tree while it grows."""

    def __init__(self, box, index=-1, children=()):
        self.box, self.index, self.children = box, index, list(children)


def _join(a, b):
    return (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


def _grow(node, leaf):
    if node is None:
        return leaf
    if node.index >= 0:
        return _Node(_join(leaf.box, node.box), children=(leaf, node))
    left, right = node.children
    cost_left = _box_area(right.box) + _box_area(_join(left.box, leaf.box))
    cost_right = _box_area(left.box) + _box_area(_join(right.box, leaf.box))
    if cost_left == cost_right:
        cost_left, cost_right = _box_proximity(left.box, leaf.box), _box_proximity(right.box, leaf.box)
    side = int(cost_right < cost_left)
    node.children[side] = _grow(node.children[side], leaf)
    node.box = _join(node.box, leaf.box)
    return node
