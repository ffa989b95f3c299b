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

from envs_mjx.rigid2d.batching import any_in_batch

_MARGIN = float(np.float32(0.1))
"""A box grows by this fraction of its size, and by the way travelled in this time (s), before it is stored."""


@chex.dataclass(frozen=True)
class LeafTree:
    """What is remembered of the tree over the moving shapes.

    Attributes:
        box: Enlarged box of every leaf: left, bottom, right, top (px).
        code: Left-aligned path of every leaf.
        depth: Length of the path; -1 for an absent leaf.
        wall_time: When the leaf's pairs with static shapes were found.
        pair_time: When the pair of two leaves was found (upper triangle).
        caller: Whether the second leaf of the pair reports it (else the first).
        clock: Steps so far.
    """

    box: Float[Array, "leaves 4"]
    code: Int[Array, " leaves"]
    depth: Int[Array, " leaves"]
    wall_time: Int[Array, " leaves"]
    pair_time: Int[Array, "leaves leaves"]
    caller: Bool[Array, "leaves leaves"]
    clock: Int[Array, ""]


class Order(NamedTuple):
    """Sort keys of this step, compared lexicographically: `first` then `second`.

    `wall_first` and `wall_second` have one entry for each (static shape, leaf), `pair_*` for each (leaf, leaf) with the
    smaller index first.
    """

    wall_first: Int[Array, "statics leaves"]
    wall_second: Int[Array, "statics leaves"]
    pair_first: Int[Array, "leaves leaves"]
    pair_second: Int[Array, "leaves leaves"]


def plant(boxes: Float[Array, "leaves 4"], present: Bool[Array, " leaves"]) -> LeafTree:
    """The tree after the leaves were added one by one, at rest, in index order."""
    leaves = boxes.shape[0]
    tree = LeafTree(
        box=boxes,
        code=jnp.zeros((leaves,), jnp.int32),
        depth=jnp.full((leaves,), -1, jnp.int32),
        wall_time=jnp.zeros((leaves,), jnp.int32),
        pair_time=jnp.zeros((leaves, leaves), jnp.int32),
        caller=jnp.zeros((leaves, leaves), bool),
        clock=jnp.zeros((), jnp.int32),
    )
    for leaf in range(leaves):
        box = _enlarge(boxes[leaf], jnp.zeros((2,), boxes.dtype))
        tree = _where(present[leaf], _insert(tree, leaf, box), tree)
        moved = present & (jnp.arange(leaves) == leaf)
        tree = _note_pairs(tree, moved).replace(clock=tree.clock + 1)
    return tree


def advance(
    tree: LeafTree,
    boxes: Float[Array, "leaves 4"],
    velocity: Float[Array, "leaves 2"],
    update_order: tuple[int, ...],
) -> tuple[LeafTree, Bool[Array, " leaves"]]:
    """Move the leaves that left their enlarged boxes.

    Args:
        tree: The tree before.
        boxes: Tight boxes of the leaves now.
        velocity: Velocity of each leaf's body (px/s).
        update_order: Leaves in the order in which the reference updates them; the others may not move.

    Returns:
        The tree, and which leaves moved.
    """
    inside = jnp.all(tree.box[:, :2] <= boxes[:, :2], axis=1) & jnp.all(tree.box[:, 2:] >= boxes[:, 2:], axis=1)
    moved = (tree.depth >= 0) & ~inside

    def update(tree):
        for leaf in update_order:
            new = _enlarge(boxes[leaf], velocity[leaf])
            tree = jax.lax.cond(
                any_in_batch(moved[leaf]),
                lambda t, leaf=leaf, new=new: _where(moved[leaf], _insert(_remove(t, leaf), leaf, new), t),
                lambda t: t,
                tree,
            )
        return _note_pairs(tree, moved)

    tree = jax.lax.cond(any_in_batch(jnp.any(moved)), update, lambda t: t, tree)
    return tree.replace(clock=tree.clock + 1), moved


def order(tree: LeafTree, moved: Bool[Array, " leaves"], static_rank: tuple[int, ...]) -> Order:
    """Sort keys for the pairs of this step, given the tree and moved leaves that `advance` returned."""
    leaves, statics = tree.code.shape[0], len(static_rank)
    position = _position(tree)
    latest = (tree.clock + 1) * _ticks_per_step(leaves)
    rank = jnp.array(static_rank, jnp.int32)
    # A leaf that moved reports at once, statics first; one that stayed goes through its list, latest entry first.
    found = tree.wall_time[None, :] + rank[:, None]
    wall_second = jnp.where(moved[None, :], rank[:, None], latest - found)
    reporter_second = tree.caller
    row, column = position[:, None], position[None, :]
    pair_first = jnp.where(reporter_second, jnp.broadcast_to(column, (leaves, leaves)), row)
    reporter_moved = jnp.where(reporter_second, moved[None, :], moved[:, None])
    partner = jnp.where(reporter_second, row, jnp.broadcast_to(column, (leaves, leaves)))
    at_once = _STATIC_TICKS + _climb(tree) * leaves + partner
    pair_second = jnp.where(reporter_moved, at_once, latest - tree.pair_time)
    wall_first = jnp.broadcast_to(position[None, :], (statics, leaves))
    return Order(wall_first, wall_second, pair_first, pair_second)


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


_STATIC_TICKS = 16
"""Room for the ranks of static shapes within one leaf's visit."""


def _ticks_per_visit(leaves):
    return _STATIC_TICKS + leaves * leaves


def _ticks_per_step(leaves):
    return leaves * _ticks_per_visit(leaves)


def _where(condition, new, old):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _enlarge(box, velocity):
    size = (box[2:] - box[:2]) * _MARGIN
    way = velocity * _MARGIN
    return jnp.concatenate([box[:2] + jnp.minimum(-size, way), box[2:] + jnp.maximum(size, way)])


def _levels(leaves):
    return max(leaves - 1, 1)


def _remove(tree, leaf):
    """Take a leaf out: its sibling moves up by one level."""
    levels = _levels(tree.code.shape[0])
    below = levels - tree.depth[leaf]
    sibling = (tree.code[leaf] >> below) ^ 1
    depth = tree.depth
    lifted = (depth >= tree.depth[leaf]) & ((tree.code >> below) == sibling)
    rest = tree.code & ((1 << below) - 1)
    code = jnp.where(lifted, ((sibling >> 1) << (below + 1)) | (rest << 1), tree.code)
    here = jnp.arange(depth.shape[0]) == leaf
    return tree.replace(code=code, depth=jnp.where(here, -1, jnp.where(lifted, depth - 1, depth)))


def _insert(tree, leaf, box):
    """Put a leaf beside the leaf that a greedy walk from the root finds."""
    leaves = tree.code.shape[0]
    levels = _levels(leaves)
    code, depth = tree.code, tree.depth
    prefix = jnp.zeros((), jnp.int32)
    length = jnp.zeros((), jnp.int32)
    walking = jnp.array(True)
    for level in range(levels - 1):
        under = (depth > level) & ((code >> (levels - level)) == prefix)
        right = (code >> (levels - level - 1)) & 1 == 1
        left_box, right_box = _union(tree.box, under & ~right), _union(tree.box, under & right)
        cost_left = _area(right_box) + _area(_merge(left_box, box))
        cost_right = _area(left_box) + _area(_merge(right_box, box))
        tie = jnp.abs(cost_left - cost_right) <= 1e-12 * (cost_left + cost_right)
        cost_left = jnp.where(tie, _proximity(left_box, box), cost_left)
        cost_right = jnp.where(tie, _proximity(right_box, box), cost_right)
        # Decide before the next level whether the walk has already met a leaf.
        walking = walking & jnp.any(under)
        go_right = (cost_right < cost_left).astype(jnp.int32)
        prefix = jnp.where(walking, prefix * 2 + go_right, prefix)
        length = jnp.where(walking, length + 1, length)
    found = (depth == length) & ((code >> (levels - length)) == prefix)
    alone = ~jnp.any(depth >= 0)
    here = jnp.arange(leaves) == leaf
    bit = jnp.where(length < levels, 1 << jnp.maximum(levels - length - 1, 0), 0)
    base = prefix << (levels - length)
    new_code = jnp.where(here, jnp.where(alone, 0, base), jnp.where(found, base | bit, code))
    new_depth = jnp.where(here, jnp.where(alone, 0, length + 1), jnp.where(found, length + 1, depth))
    return tree.replace(code=new_code, depth=new_depth, box=jnp.where(here[:, None], box[None, :], tree.box))


def _note_pairs(tree, moved):
    """Record when and by whom the pairs of the moved leaves are found in this step."""
    leaves = tree.code.shape[0]
    position = _position(tree)
    visit = (tree.clock * leaves + position) * _ticks_per_visit(leaves)
    row, column = position[:, None], position[None, :]
    second_later = row < column
    # The depth-first earlier leaf finds the pair at its visit if it moved, else the later one does.
    early_moved = jnp.where(second_later, moved[:, None], moved[None, :])
    early_visit = jnp.where(second_later, visit[:, None], visit[None, :])
    late_visit = jnp.where(second_later, visit[None, :], visit[:, None])
    early, late = jnp.minimum(row, column), jnp.maximum(row, column)
    climb = _climb(tree) * leaves
    time = _STATIC_TICKS + climb + jnp.where(early_moved, early_visit + late, late_visit + early)
    touched = moved[:, None] | moved[None, :]
    return tree.replace(
        wall_time=jnp.where(moved, visit, tree.wall_time),
        pair_time=jnp.where(touched, time, tree.pair_time),
        caller=jnp.where(touched, second_later, tree.caller),
    )


def _position(tree):
    """Depth-first rank of every present leaf."""
    before = (tree.code[None, :] < tree.code[:, None]) & (tree.depth >= 0)[None, :]
    return before.sum(axis=1).astype(jnp.int32)


def _climb(tree):
    """How far up two leaves meet: larger for a common ancestor nearer the root."""
    levels = _levels(tree.code.shape[0])
    shared = sum(
        ((tree.code[:, None] >> (levels - k)) == (tree.code[None, :] >> (levels - k))).astype(jnp.int32)
        for k in range(1, levels + 1)
    )
    return levels - shared


def _union(boxes, mask):
    low = jnp.where(mask[:, None], boxes[:, :2], jnp.inf).min(axis=0)
    high = jnp.where(mask[:, None], boxes[:, 2:], -jnp.inf).max(axis=0)
    return jnp.concatenate([low, high])


def _merge(a, b):
    return jnp.concatenate([jnp.minimum(a[:2], b[:2]), jnp.maximum(a[2:], b[2:])])


def _area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def _proximity(a, b):
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
    cost_left = _area(right.box) + _area(_join(left.box, leaf.box))
    cost_right = _area(left.box) + _area(_join(right.box, leaf.box))
    if cost_left == cost_right:
        cost_left, cost_right = _proximity(left.box, leaf.box), _proximity(right.box, leaf.box)
    side = int(cost_right < cost_left)
    node.children[side] = _grow(node.children[side], leaf)
    node.box = _join(node.box, leaf.box)
    return node
