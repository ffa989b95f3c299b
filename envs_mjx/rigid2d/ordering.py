"""The order in which the solver visits touching pairs.

Ten iterations do not converge when several contacts press on one body, so the order of the pairs decides the result.
In the reference that order comes from the life of its bounding-box tree: which leaf sits where, which leaf last left
its enlarged box, and which pair was found last. This module keeps just enough of that tree to know the order: the
enlarged boxes, the path to every leaf, and the time at which every pair was found.

A leaf's path is a bit string (0 left, 1 right), stored left-aligned in `code` with its length in `depth`, so that
sorting by `code` is the depth-first order. Inner boxes need no storage: they are the unions of the leaves below.

Source: Munk2D, the rules of cpBBTree as they bear on the order of collision callbacks.
"""

from itertools import combinations
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from envs_mjx.rigid2d.batching import any_in_batch
from envs_mjx.rigid2d.indexing import pick

_MARGIN = float(np.float32(0.1))
"""A box grows by this fraction of its size, and by the way travelled in this time (s), before it is stored."""

_STATIC_TICKS = 16
"""Room for the ranks of static shapes within one leaf's visit."""


@chex.dataclass(frozen=True)
class LeafTree:
    """What is remembered of the tree over the moving shapes; pairs of leaves as `leaf_pairs` lists them.

    Attributes:
        box: Enlarged box of every leaf: left, bottom, right, top (px).
        code: Left-aligned path of every leaf.
        depth: Length of the path; -1 for an absent leaf.
        wall_time: When the leaf's pairs with static shapes were found.
        pair_time: When the pair of two leaves was found.
        caller: Whether the second leaf of the pair reports it (else the first).
        clock: Steps so far.
    """

    box: Float[Array, "leaves 4"]
    code: Int[Array, " leaves"]
    depth: Int[Array, " leaves"]
    wall_time: Int[Array, " leaves"]
    pair_time: Int[Array, " leaf_pairs"]
    caller: Bool[Array, " leaf_pairs"]
    clock: Int[Array, ""]


class Nodes(NamedTuple):
    """A `LeafTree` as tuples of scalars: in a batch every one is an array of its own, which processors like best."""

    box: tuple[tuple[Any, ...], ...]
    code: tuple[Any, ...]
    depth: tuple[Any, ...]
    wall_time: tuple[Any, ...]
    pair_time: tuple[Any, ...]
    caller: tuple[Any, ...]
    clock: Any


class Order(NamedTuple):
    """Sort keys of this step, compared lexicographically: `first` then `second`.

    `wall_second[k, i]` belongs to static shape k and leaf i, `wall_first[i]` to leaf i and any static shape, and
    `pair_*` to the pairs of `leaf_pairs`. `pair_swapped` says for which of these the engine takes the second leaf as
    its first shape, and visits two contacts the other way round.
    """

    wall_first: Int[Array, " leaves"]
    wall_second: Int[Array, "statics leaves"]
    pair_first: Int[Array, " leaf_pairs"]
    pair_second: Int[Array, " leaf_pairs"]
    pair_swapped: Bool[Array, " leaf_pairs"]


def leaf_pairs(leaves: int) -> list[tuple[int, int]]:
    """All pairs of leaves, the smaller index first."""
    return list(combinations(range(leaves), 2))


def unpack(tree: LeafTree) -> Nodes:
    """The tree as scalars."""

    def scalars(column):
        return tuple(column[i] for i in range(column.shape[0]))

    return Nodes(
        box=tuple(scalars(box) for box in scalars(tree.box)),
        code=scalars(tree.code),
        depth=scalars(tree.depth),
        wall_time=scalars(tree.wall_time),
        pair_time=scalars(tree.pair_time),
        caller=scalars(tree.caller),
        clock=tree.clock,
    )


def pack(nodes: Nodes) -> LeafTree:
    """The scalars as a tree."""

    def row(values, dtype):
        return jnp.stack(values) if values else jnp.zeros((0,), dtype)

    return LeafTree(
        box=jnp.stack([jnp.stack(box) for box in nodes.box]),
        code=row(nodes.code, jnp.int32),
        depth=row(nodes.depth, jnp.int32),
        wall_time=row(nodes.wall_time, jnp.int32),
        pair_time=row(nodes.pair_time, jnp.int32),
        caller=row(nodes.caller, bool),
        clock=nodes.clock,
    )


def plant(boxes: Float[Array, "leaves 4"], present: Bool[Array, " leaves"]) -> LeafTree:
    """The tree after the leaves were added one by one, at rest, in index order."""
    leaves = boxes.shape[0]
    zero, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    pairs = len(leaf_pairs(leaves))
    box = tuple(tuple(boxes[i, k] for k in range(4)) for i in range(leaves))
    still = jnp.zeros((), boxes.dtype)
    empty = Nodes(box, (zero,) * leaves, (zero - 1,) * leaves, (zero,) * leaves, (zero,) * pairs, (no,) * pairs, zero)

    def add(leaf, nodes):
        here = [leaf == i for i in range(leaves)]
        grown = _insert(nodes, here, _enlarge(_choose(here, box), (still, still)))
        nodes = _where(_choose(here, [present[i] for i in range(leaves)]), grown, nodes)
        nodes = _note_pairs(nodes, [here[i] & present[i] for i in range(leaves)])
        return nodes._replace(clock=nodes.clock + 1)

    return pack(jax.lax.fori_loop(0, leaves, add, empty))


def advance(
    nodes: Nodes, boxes: Any, velocity: Any, update_order: tuple[int, ...] | Int[Array, " leaves"]
) -> tuple[Nodes, list[Any]]:
    """Move the leaves that left their enlarged boxes.

    Args:
        nodes: The tree before.
        boxes: Tight box (left, bottom, right, top) of every leaf now.
        velocity: Velocity (x, y) of each leaf's body (px/s).
        update_order: Leaves in the order in which the reference updates them; those left out of a tuple may not move.

    Returns:
        The tree, and for every leaf whether it moved.
    """
    leaves = len(nodes.code)
    moved = [
        (depth >= 0) & ~((old[0] <= new[0]) & (old[1] <= new[1]) & (old[2] >= new[2]) & (old[3] >= new[3]))
        for depth, old, new in zip(nodes.depth, nodes.box, boxes, strict=True)
    ]

    def reinsert(here, nodes):
        box = _enlarge(_choose(here, boxes), _choose(here, velocity))
        return _where(_choose(here, moved), _insert(_remove(nodes, here), here, box), nodes)

    def turn(k, nodes):
        leaf = jnp.asarray(update_order, jnp.int32)[k]
        here = [leaf == i for i in range(leaves)]
        anyone = any_in_batch(_choose(here, moved))
        return jax.lax.cond(anyone, lambda n: reinsert(here, n), lambda n: n, nodes)

    def update(nodes):
        if len(update_order) == 1:
            nodes = reinsert([jnp.asarray(i == update_order[0]) for i in range(leaves)], nodes)
        else:
            nodes = jax.lax.fori_loop(0, len(update_order), turn, nodes)
        return _note_pairs(nodes, moved)

    movable = update_order if isinstance(update_order, tuple) else range(leaves)
    anyone = any_in_batch(_any([moved[leaf] for leaf in movable]))
    nodes = jax.lax.cond(anyone, update, lambda n: n, nodes)
    return nodes._replace(clock=nodes.clock + 1), moved


def order(tree: LeafTree, moved: Bool[Array, " leaves"], static_rank: tuple[int, ...]) -> Order:
    """Sort keys for the pairs of this step, given the tree and moved leaves that `advance` returned."""
    leaves = tree.code.shape[0]
    earlier = (tree.code[None, :] < tree.code[:, None]) & (tree.depth >= 0)[None, :]
    position = earlier.sum(axis=1, dtype=jnp.int32)
    latest = (tree.clock + 1) * _ticks_per_step(leaves)
    # A leaf that moved reports at once, statics first; one that stayed goes through its list, latest entry first.
    rank = np.array(static_rank, np.int32)[:, None]
    walls = jnp.where(moved[None, :], rank, latest - (tree.wall_time[None, :] + rank))
    i, j = np.array(leaf_pairs(leaves), np.int32).reshape(-1, 2).T
    if len(i) == 0:
        none = jnp.zeros((0,), jnp.int32)
        return Order(position, walls, none, none, none == 0)
    caller = tree.caller
    levels = _levels(leaves)
    above = np.arange(levels, dtype=np.int32)[:, None]
    shared = (pick(tree.code, i)[None, :] >> above) == (pick(tree.code, j)[None, :] >> above)
    climb = levels - shared.sum(axis=0, dtype=jnp.int32)
    at_once = _STATIC_TICKS + climb * leaves + jnp.where(caller, pick(position, i), pick(position, j))
    reporter_moved = jnp.where(caller, pick(moved, j), pick(moved, i))
    return Order(
        wall_first=position,
        wall_second=walls,
        pair_first=jnp.where(caller, pick(position, j), pick(position, i)),
        pair_second=jnp.where(reporter_moved, at_once, latest - tree.pair_time),
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


def _ticks_per_visit(leaves):
    return _STATIC_TICKS + leaves * leaves


def _ticks_per_step(leaves):
    return leaves * _ticks_per_visit(leaves)


def _where(condition, new, old):
    return jax.tree.map(lambda a, b: a if a is b else jnp.where(condition, a, b), new, old)


def _any(flags):
    found = flags[0]
    for flag in flags[1:]:
        found = found | flag
    return found


def _choose(here, values):
    """The entry of the leaf that is here."""
    chosen = values[0]
    for flag, value in zip(here[1:], values[1:], strict=True):
        chosen = _where(flag, value, chosen)
    return chosen


def _enlarge(box, velocity):
    left, bottom, right, top = box
    wide, high = (right - left) * _MARGIN, (top - bottom) * _MARGIN
    x, y = (v * _MARGIN for v in velocity)
    low, up = jnp.minimum, jnp.maximum
    return (left + low(-wide, x), bottom + low(-high, y), right + up(wide, x), top + up(high, y))


def _levels(leaves):
    return max(leaves - 1, 1)


def _remove(nodes, here):
    """Take a leaf out: its sibling moves up by one level."""
    own_depth = _choose(here, nodes.depth)
    below = _levels(len(here)) - own_depth
    sibling = (_choose(here, nodes.code) >> below) ^ 1
    parent = (sibling >> 1) << (below + 1)
    mask = (1 << below) - 1
    code, depth = [], []
    for i, (c, d) in enumerate(zip(nodes.code, nodes.depth, strict=True)):
        lifted = (d >= own_depth) & ((c >> below) == sibling)
        code.append(jnp.where(lifted, parent | ((c & mask) << 1), c))
        depth.append(jnp.where(here[i], -1, jnp.where(lifted, d - 1, d)))
    return nodes._replace(code=tuple(code), depth=tuple(depth))


def _insert(nodes, here, box):
    """Put a leaf beside the leaf that a greedy walk from the root finds."""
    levels = _levels(len(here))

    def descend(level, walk):
        prefix, length, walking = walk
        under, right = [], []
        for code, depth in zip(nodes.code, nodes.depth, strict=True):
            under.append((depth > level) & ((code >> (levels - level)) == prefix))
            right.append((code >> (levels - level - 1)) & 1 == 1)
        left_box = _union(nodes.box, [u & ~r for u, r in zip(under, right, strict=True)])
        right_box = _union(nodes.box, [u & r for u, r in zip(under, right, strict=True)])
        cost_left = _box_area(right_box) + _box_area(_merge(left_box, box))
        cost_right = _box_area(left_box) + _box_area(_merge(right_box, box))
        tie = jnp.abs(cost_left - cost_right) <= 1e-12 * (cost_left + cost_right)
        cost_left = jnp.where(tie, _box_proximity(left_box, box), cost_left)
        cost_right = jnp.where(tie, _box_proximity(right_box, box), cost_right)
        # Decide before the next level whether the walk has already met a leaf.
        walking = walking & _any(under)
        prefix = jnp.where(walking, prefix * 2 + (cost_right < cost_left), prefix)
        return prefix, jnp.where(walking, length + 1, length), walking

    # A loop although it is short: two walks in a row in one expression would be computed over and over by its users.
    zero = jnp.zeros((), jnp.int32)
    prefix, length, _ = jax.lax.fori_loop(0, levels - 1, descend, (zero, zero, jnp.asarray(True)))
    alone = ~_any([depth >= 0 for depth in nodes.depth])
    bit = jnp.where(length < levels, 1 << jnp.maximum(levels - length - 1, 0), 0)
    base = prefix << (levels - length)
    code, depth = [], []
    for i, (c, d) in enumerate(zip(nodes.code, nodes.depth, strict=True)):
        found = (d == length) & ((c >> (levels - length)) == prefix)
        code.append(jnp.where(here[i], jnp.where(alone, 0, base), jnp.where(found, base | bit, c)))
        depth.append(jnp.where(here[i], jnp.where(alone, 0, length + 1), jnp.where(found, length + 1, d)))
    boxes = tuple(_where(here[i], box, old) for i, old in enumerate(nodes.box))
    return nodes._replace(code=tuple(code), depth=tuple(depth), box=boxes)


def _note_pairs(nodes, moved):
    """Record when and by whom the pairs of the moved leaves are found in this step."""
    leaves = len(nodes.code)
    position = _positions(nodes)
    visit = [(nodes.clock * leaves + p) * _ticks_per_visit(leaves) for p in position]
    times, callers = [], []
    for p, (i, j) in enumerate(leaf_pairs(leaves)):
        second_later = position[i] < position[j]
        # The depth-first earlier leaf finds the pair at its visit if it moved, else the later one does.
        early_moved = jnp.where(second_later, moved[i], moved[j])
        early_visit, late_visit = (
            jnp.where(second_later, a, b) for a, b in ((visit[i], visit[j]), (visit[j], visit[i]))
        )
        early, late = jnp.minimum(position[i], position[j]), jnp.maximum(position[i], position[j])
        climb = _climb(nodes, i, j) * leaves
        time = _STATIC_TICKS + climb + jnp.where(early_moved, early_visit + late, late_visit + early)
        touched = moved[i] | moved[j]
        times.append(jnp.where(touched, time, nodes.pair_time[p]))
        callers.append(jnp.where(touched, second_later, nodes.caller[p]))
    walls = [jnp.where(m, v, old) for m, v, old in zip(moved, visit, nodes.wall_time, strict=True)]
    return nodes._replace(wall_time=tuple(walls), pair_time=tuple(times), caller=tuple(callers))


def _positions(nodes):
    """Depth-first rank of every present leaf."""
    return [
        sum(((c < code) & (d >= 0)).astype(jnp.int32) for c, d in zip(nodes.code, nodes.depth, strict=True))
        for code in nodes.code
    ]


def _climb(nodes, i, j):
    """How far up two leaves meet: larger for a common ancestor nearer the root."""
    levels = _levels(len(nodes.code))
    shared = [(nodes.code[i] >> (levels - k)) == (nodes.code[j] >> (levels - k)) for k in range(1, levels + 1)]
    return levels - sum(s.astype(jnp.int32) for s in shared)


def _union(boxes, inside):
    total = None
    for flag, (left, bottom, right, top) in zip(inside, boxes, strict=True):
        low = [jnp.where(flag, v, jnp.inf) for v in (left, bottom)]
        high = [jnp.where(flag, v, -jnp.inf) for v in (right, top)]
        total = (*low, *high) if total is None else _merge(total, (*low, *high))
    return total


def _merge(a, b):
    return (
        jnp.minimum(a[0], b[0]),
        jnp.minimum(a[1], b[1]),
        jnp.maximum(a[2], b[2]),
        jnp.maximum(a[3], b[3]),
    )


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
