"""Operators that move numbers without changing them: views, permutations, expansions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, fx

from gan_slimming.graph.nodes import arguments_of, value_of
from gan_slimming.pruning.operators.handler import Handler
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.values import Factor, Value, aligned, reduced

LARGEST = 1 << 22
"""Largest number of places in a grid; a view with more is not followed."""
Move = Callable[[np.ndarray], np.ndarray]


def moved(value: Value, move: Move) -> Value:
    """Rearrange all grids of a value in the same way."""
    return Value(tuple(Factor(move(f.slots), move(f.zero)) for f in value.factors), value.fixed)


def inserted(value: Value, axis: int) -> Value:
    """Insert a new axis of length 1."""
    return moved(value, lambda grid: np.expand_dims(grid, axis))


def reshape(walk: Propagation, node: fx.Node) -> Value:
    """Handle view, reshape, flatten and unflatten, which split or merge axes."""
    old, new = value_of(node.args[0]).shape, value_of(node).shape
    return reshaped(walk, walk.value(node.args[0]), list(old), list(new))


def reshaped(
    walk: Propagation, value: Value, old: Sequence[int], new: Sequence[int], named: bool = True
) -> Value:
    """Return the value of a tensor in another shape.

    Args:
        named: whether the forward may name a number of channels in the shape, which a cut would
            change.
    """
    factors, taken = [], np.zeros(len(new), dtype=int)
    for factor in value.factors:
        made = _reshaped_factor(walk, factor, list(old), list(new))
        if made is None:
            walk.protect(factor.slots, "a view of it is too large to be followed")
            continue
        if named:
            walk.named.append(factor.slots.ravel())
        factors.append(made)
        taken[made.varies] += 1
    for factor in factors if (taken > 1).any() else ():
        if any(taken[axis] > 1 for axis in factor.varies):
            walk.protect(factor.slots, "a view mixes it with other channels")
    return Value(tuple(f for f in factors if all(taken[a] < 2 for a in f.varies)), value.fixed)


def _reshaped_factor(
    walk: Propagation, factor: Factor, old: list[int], new: list[int]
) -> Factor | None:
    shape, splits, target = [1] * len(old), [], [1] * len(new)
    for before, after in segments(old, new):
        if not any(axis in factor.varies for axis in before):
            continue
        for axis in before:
            shape[axis] = old[axis]
        for axis in after:
            target[axis] = new[axis]
        if len(after) > 1:
            splits.append(after)
    if np.prod(shape, dtype=np.int64) > LARGEST:
        return None
    grids = [np.broadcast_to(g, shape).reshape(target) for g in (factor.slots, factor.zero)]
    made = reduced(Factor(*grids), walk.forest, walk.zeros)
    walk.splits += [(made.slots, after) for after in splits]
    return made


def segments(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Match the shortest runs of axes with equal products; axes of length 1 are left out.

    >>> segments([1, 6, 4, 4], [1, 2, 3, 16])
    [([1], [1, 2]), ([2, 3], [3])]
    """
    left = [axis for axis, size in enumerate(old) if size != 1]
    right = [axis for axis, size in enumerate(new) if size != 1]
    found = []
    while left and right:
        before, after = [left.pop(0)], [right.pop(0)]
        while (a := _product(old, before)) != (b := _product(new, after)):
            (before if a < b else after).append((left if a < b else right).pop(0))
        found.append((before, after))
    return found


def _product(shape: Sequence[int], axes: Sequence[int]) -> int:
    return int(np.prod([shape[axis] for axis in axes], dtype=np.int64))


def permute(walk: Propagation, node: fx.Node) -> Value:
    """Permute the axes."""
    dims = arguments_of(node)["dims"]
    return moved(walk.value(node.args[0]), lambda grid: grid.transpose(dims))


def transpose(walk: Propagation, node: fx.Node) -> Value:
    """Swap two axes; t and mT swap the last two."""
    values = arguments_of(node)
    first = values.get("dim0", values.get("axis0", -2))
    second = values.get("dim1", values.get("axis1", -1))
    if value_of(node).dim() < 2:
        return walk.value(node.args[0])
    return moved(walk.value(node.args[0]), lambda grid: grid.swapaxes(first, second))


def movedim(walk: Propagation, node: fx.Node) -> Value:
    """Move some axes; the others keep their order."""
    values = arguments_of(node)
    return moved(
        walk.value(node.args[0]),
        lambda grid: np.moveaxis(grid, values["source"], values["destination"]),
    )


def same_numbers(walk: Propagation, node: fx.Node) -> Value:
    """Handle squeeze and unsqueeze, which add or remove axes of length 1."""
    old, new = value_of(node.args[0]).shape, value_of(node).shape
    return reshaped(walk, walk.value(node.args[0]), list(old), list(new), named=False)


def expand(walk: Propagation, node: fx.Node) -> Value:
    """Expand axes of length 1, whose copies go with the channels that they meet."""
    made, source = value_of(node), value_of(node.args[0])
    rank = made.dim()
    factors = [aligned(f, rank) for f in walk.value(node.args[0]).factors]
    for factor in factors:
        walk.named.append(factor.slots.ravel())
    old = [1] * (rank - source.dim()) + list(source.shape)
    factors += _elastic(walk, node, old, made)
    return Value(tuple(factors), walk.value(node.args[0]).fixed)


def expand_as(walk: Propagation, node: fx.Node) -> Value:
    """Expand as in broadcasting with the other tensor, whose channels it adopts."""
    rank = value_of(node).dim()
    own = [aligned(f, rank) for f in walk.value(node.args[0]).factors]
    covered = {axis for factor in own for axis in factor.varies}
    never = walk.zeros.never("a value is spread over it")
    other = [
        Factor(f.slots, np.full_like(f.zero, never))
        for f in walk.value(node.args[1]).factors
        if not covered & set(f.varies)
    ]
    return Value((*own, *other), walk.value(node.args[0]).fixed)


def _elastic(walk: Propagation, node: fx.Node, old: Sequence[int], made: Tensor) -> list[Factor]:
    """Return factors for expanded axes, such as a blur's, as long as the channels they meet."""
    factors = []
    for axis in (0, 1) if node in walk.static else (1,):
        if axis < made.dim() and old[axis] == 1 and made.shape[axis] > 1:
            grid = [made.shape[axis] if a == axis else 1 for a in range(made.dim())]
            slots = walk.forest.fresh(made.shape[axis])
            walk.named.append(slots)
            never = walk.zeros.never("a value is spread over it")
            factors.append(Factor(slots.reshape(grid), np.full(grid, never)))
    return factors


def repeat(walk: Propagation, node: fx.Node) -> Value:
    """Handle repeat and tile: the sequence of channels repeats."""
    values = arguments_of(node)
    made, source = value_of(node), value_of(node.args[0])
    times = list(values["repeats"] if "repeats" in values else values["dims"])
    times = [1] * (made.dim() - len(times)) + times
    old = [1] * (made.dim() - source.dim()) + list(source.shape)
    factors = []
    for factor in (aligned(f, made.dim()) for f in walk.value(node.args[0]).factors):
        spread = [n if factor.slots.shape[axis] > 1 else 1 for axis, n in enumerate(times)]
        walk.named.append(factor.slots.ravel())
        factors.append(Factor(np.tile(factor.slots, spread), np.tile(factor.zero, spread)))
    factors += _elastic(walk, node, old, made)
    return Value(tuple(factors), walk.value(node.args[0]).fixed)


def repeat_interleave(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Repeat every channel several times, next to itself."""
    values = arguments_of(node)
    times, axis = values.get("repeats"), values.get("dim")
    if not isinstance(times, int) or axis is None:
        return walk.barrier(node, "it is repeated by a computed number")
    return moved(
        walk.value(node.args[0]),
        lambda grid: grid if grid.shape[axis] == 1 else np.repeat(grid, times, axis),
    )


def pixel_shuffle(walk: Propagation, node: fx.Node) -> Value:
    """Merge blocks of r * r channels into one channel of r times the height and width."""
    factor = arguments_of(node)["upscale_factor"]
    return _blocks(walk, node, factor * factor)


def fold(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle col2im: blocks of kernel positions become one channel."""
    height, width = arguments_of(node)["kernel_size"]
    if value_of(node).dim() != 4:
        return walk.barrier(node, "it is folded without a batch")
    flat = _blocks(walk, node, height * width)
    return inserted(flat, 3)


def _blocks(walk: Propagation, node: fx.Node, size: int) -> Value:
    """Tie channels in blocks, each of which becomes one channel."""
    axis = max(value_of(node.args[0]).dim() - 3, 1)
    factors = []
    for factor in walk.value(node.args[0]).factors:
        if factor.varies != [axis]:
            walk.protect(factor.slots, "its pixels are shuffled")
            continue
        blocks = np.moveaxis(factor.slots, axis, -1).reshape(-1, size)
        walk.join(blocks[:, :1], blocks)
        first = np.arange(0, factor.slots.shape[axis], size)
        zero = walk.zeros.all_along(factor.zero.reshape(-1, size), [1])
        slots = factor.slots.take(first, axis)
        factors.append(Factor(slots, zero.reshape(slots.shape)))
    return Value(tuple(factors), walk.value(node.args[0]).fixed)


def pixel_unshuffle(walk: Propagation, node: fx.Node) -> Value:
    """Turn every channel into r * r channels."""
    times = arguments_of(node)["downscale_factor"] ** 2
    axis = value_of(node).dim() - 3
    return _unfolded(walk, node, axis, times)


def unfold(walk: Propagation, node: fx.Node) -> Value:
    """Handle im2col: every channel becomes one per kernel position."""
    height, width = arguments_of(node)["kernel_size"]
    spread = _unfolded(walk, node, 1, height * width)
    return moved(spread, lambda grid: grid.reshape(grid.shape[:3]))


def _unfolded(walk: Propagation, node: fx.Node, axis: int, times: int) -> Value:
    value = walk.value(node.args[0])
    for factor in value.factors:
        if factor.varies != [axis]:
            walk.protect(factor.slots, "its pixels become channels")
    kept = Value(tuple(f for f in value.factors if f.varies == [axis]), value.fixed)
    return moved(kept, lambda grid: np.repeat(grid, times, axis))


def channel_shuffle(walk: Propagation, node: fx.Node) -> Value:
    """View channels as (groups, rest), and swap the two."""
    groups, shape = arguments_of(node)["groups"], list(value_of(node).shape)
    split = [shape[0], groups, shape[1] // groups, *shape[2:]]
    value = reshaped(walk, walk.value(node.args[0]), shape, split, named=False)
    value = moved(value, lambda grid: grid.swapaxes(1, 2))
    split[1:3] = split[2], split[1]
    return reshaped(walk, value, split, shape, named=False)


TABLE: dict[str, Handler] = {
    "view": reshape, "reshape": reshape, "flatten": reshape, "unflatten": reshape,
    "_unsafe_view": reshape, "view_as": reshape, "reshape_as": reshape,
    "squeeze": same_numbers, "unsqueeze": same_numbers,
    "permute": permute, "transpose": transpose, "swapaxes": transpose, "t": transpose,
    "mT": transpose, "movedim": movedim, "moveaxis": movedim,
    "expand": expand, "expand_as": expand_as, "repeat": repeat, "tile": repeat,
    "repeat_interleave": repeat_interleave,
    "pixel_shuffle": pixel_shuffle, "pixel_unshuffle": pixel_unshuffle,
    "im2col": unfold, "col2im": fold, "channel_shuffle": channel_shuffle,
}  # fmt: skip
VIEWS = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze permute transpose swapaxes t mT movedim "  # noqa: SIM905
    "moveaxis expand expand_as view_as reshape_as detach alias contiguous".split()
)
