"""Values of tensors in the walk: the slots on their axes, and the gates that make them zero.

A `Factor` is a grid of slots over some axes of a tensor. A feature map has one that varies along
axis 1 only, of shape (1, C, 1, 1); a weight has one along each of its axes. Removing a channel
removes every place of the grid with its slot. A grid may vary along several axes for a while, as
after a Linear whose vector is viewed as (C, H, W). Operators that treat all pixels of a channel
alike then tie these places together.

`zero` holds, for each place, the gates that make the tensor zero there. They are a set of gates
that must all be zero, or None with the reason. Sets are interned; a place holds the index of its
set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gan_slimming.graph.nodes import Forest, Slots

Gates = frozenset[str] | None
"""Gates that make a place zero when all of them are zero; None where no gates do."""
ADDED = "something other than a tensor of the same channels is added to it"


@dataclass(frozen=True, eq=False)
class Factor:
    """Slots over a tensor's axes, of length 1 where they do not vary; `zero` has the same shape."""

    slots: Slots
    zero: np.ndarray

    @property
    def varies(self) -> list[int]:
        """Return the axes along which it has more than one place."""
        return [axis for axis, size in enumerate(self.slots.shape) if size > 1]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor in the walk: its factors, and the reason why its other axes are fixed."""

    factors: tuple[Factor, ...] = ()
    fixed: str = "it is a constant"


def listed(found: Value | list[Value]) -> list[Value]:
    """Return the values of a call, which may have several results, as a list."""
    return found if isinstance(found, list) else [found]


class Zeros:
    """The interned sets of gates, and their algebra on arrays of indices."""

    def __init__(self) -> None:
        self.table: list[tuple[Gates, str]] = []
        self._known: dict[tuple[Gates, str], int] = {}
        self._results: dict[tuple[str, int, int], int] = {}
        self.absent = self.never("it has no such channels")
        """Index for a side of an operator that does not vary where the other one does."""

    def intern(self, gates: Gates, why: str = "") -> int:
        key = (gates, why)
        if key not in self._known:
            self._known[key] = len(self.table)
            self.table.append(key)
        return self._known[key]

    def never(self, why: str) -> int:
        """Return the index for a place that no gates make zero."""
        return self.intern(None, why)

    def possible(self, zero: np.ndarray) -> np.ndarray:
        """Return bool of the same shape: whether any gates make a place zero."""
        return np.array([gates is not None for gates, _ in self.table], dtype=bool)[zero]

    def both(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Combine the sides of a sum, which is zero where both are."""
        return self._pairwise("both", left, right)

    def either(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Combine the sides of a product: the gates of the left one, or else of the right one."""
        return self._pairwise("either", left, right)

    def all_along(self, zero: np.ndarray, axes: Sequence[int]) -> np.ndarray:
        """Combine all places along these axes, as in a sum; the axes stay, of length 1."""
        for axis in axes:
            total = zero.take([0], axis)
            for part in np.moveaxis(np.unique(zero, axis=axis), axis, 0):
                total = self.both(total, np.expand_dims(part, axis))
            zero = total
        return zero

    def _pairwise(self, how: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        left, right = np.broadcast_arrays(left, right)
        pairs, places = np.unique(
            np.stack([left.ravel(), right.ravel()]), axis=1, return_inverse=True
        )
        ids = [self._pair(how, a, b) for a, b in pairs.T.tolist()]
        return np.array(ids, dtype=np.int64)[places.ravel()].reshape(left.shape)

    def _pair(self, how: str, left: int, right: int) -> int:
        key = (how, left, right)
        if key not in self._results:
            first, second = self.table[left][0], self.table[right][0]
            if how == "either":
                other = first is None and (second is not None or left == self.absent)
                found = right if other else left
            elif first is None or second is None:
                found = left if first is None else right
                found = self.never(ADDED) if found == self.absent else found
            else:
                found = self.intern(first | second)
            self._results[key] = found
        return self._results[key]


def aligned(factor: Factor, rank: int) -> Factor:
    """Return the factor with leading axes of length 1, as broadcasting adds them."""
    shape = (1,) * (rank - factor.slots.ndim) + factor.slots.shape
    return Factor(factor.slots.reshape(shape), factor.zero.reshape(shape))


def reduced(factor: Factor, forest: Forest, zeros: Zeros) -> Factor:
    """Collapse the axes along which all slots of a factor are one channel by now."""
    roots = forest.roots(factor.slots)
    for axis in factor.varies:
        if bool((roots == roots.take([0], axis)).all()):
            zero = zeros.all_along(factor.zero, [axis])
            factor = Factor(factor.slots.take([0], axis), zero)
            roots = roots.take([0], axis)
    return factor


def tied_along(factor: Factor, axes: Sequence[int], forest: Forest, zeros: Zeros) -> Factor:
    """Tie all places along these axes into one channel, and collapse the axes."""
    axes = [axis for axis in axes if factor.slots.shape[axis] > 1]
    first = factor.slots
    for axis in axes:
        first = first.take([0], axis)
    if axes:
        forest.join(np.broadcast_to(first, factor.slots.shape), factor.slots)
    return Factor(first, zeros.all_along(factor.zero, axes))
