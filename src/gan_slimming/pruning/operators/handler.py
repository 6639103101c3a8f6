"""The type of a handler, and the elementwise combination of several tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from torch import fx

from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.values import Factor, Value, aligned, reduced, tied_along

Handler = Callable[[Propagation, fx.Node], Value | list[Value]]
Rule = Callable[[list[np.ndarray]], np.ndarray]
"""Zeros of each operand at the same places -> zeros of the result."""


@dataclass(frozen=True)
class Operand:
    """A tensor in an elementwise operation; its shape is broadcast as usual."""

    value: Value
    shape: Sequence[int]


@dataclass(eq=False)
class _Cluster:
    """Factors that share an axis, each with the index of its operand."""

    parts: list[tuple[int, Factor]]

    @property
    def axes(self) -> set[int]:
        return {axis for _, factor in self.parts for axis in factor.varies}


def meet(walk: Propagation, operands: Sequence[Operand], rank: int, rule: Rule) -> Value:
    """Combine tensors elementwise: places that coincide become one channel.

    An operand may be as long as a factor on one of its axes, but have no factor there itself. Its
    own channels cannot be removed, so the factor's channels stay as well.

    Args:
        rank: number of axes of the result.
        rule: combines the zeros of the operands.
    """
    clusters: list[_Cluster] = []
    for number, operand in enumerate(operands):
        for factor in operand.value.factors:
            new = _Cluster([(number, aligned(factor, rank))])
            touching = [c for c in clusters if c.axes & new.axes]
            for cluster in touching:
                new.parts = cluster.parts + new.parts
            clusters = [c for c in clusters if c not in touching] + [new]
    fixed = next((o.value.fixed for o in operands if not o.value.factors), operands[0].value.fixed)
    return Value(tuple(_merged(walk, c, operands, rank, rule) for c in clusters), fixed)


def _merged(
    walk: Propagation, cluster: _Cluster, operands: Sequence[Operand], rank: int, rule: Rule
) -> Factor:
    shape = np.broadcast_shapes(*(factor.slots.shape for _, factor in cluster.parts))
    grids = [np.broadcast_to(factor.slots, shape) for _, factor in cluster.parts]
    for grid in grids[1:]:
        walk.forest.join(grids[0], grid)
    zeros = []
    for number, operand in enumerate(operands):
        own = [np.broadcast_to(f.zero, shape) for n, f in cluster.parts if n == number]
        zeros.append(reduce(walk.zeros.either, own) if own else np.full(shape, walk.zeros.absent))
        covered = {axis for n, f in cluster.parts if n == number for axis in f.varies}
        sizes = (1,) * (rank - len(operand.shape)) + tuple(operand.shape)
        if not own and any(sizes[axis] > 1 for axis in cluster.axes - covered):
            walk.protect(grids[0], operand.value.fixed)
    merged = Factor(np.array(grids[0]), rule(zeros))
    even = all(factor.slots.shape == shape for _, factor in cluster.parts)
    return merged if even else reduced(merged, walk.forest, walk.zeros)


def per_channel(walk: Propagation, value: Value, axes: Sequence[int], why: str) -> Value:
    """Tie all places along these axes into their channel.

    A factor that varies along no other axis has its channels there, and is protected.
    """
    factors = []
    for factor in value.factors:
        inside = [axis for axis in factor.varies if axis in axes]
        if inside and len(inside) == len(factor.varies):
            walk.protect(factor.slots, why)
            continue
        factors.append(tied_along(factor, inside, walk.forest, walk.zeros))
    return Value(tuple(factors), value.fixed)
