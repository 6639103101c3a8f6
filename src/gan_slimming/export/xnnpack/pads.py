"""Pads as slices and concatenations, because XNNPACK has no reflection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from gan_slimming.export.trace.graph import arguments_of
from gan_slimming.graph.nodes import operator_name, value_of

_OPERATORS = {"pad": "", "reflection_pad2d": "reflect", "replication_pad2d": "replicate"}


@dataclass(frozen=True)
class Pads:
    """Pads that copy pixels."""

    mode: str
    """reflect or replicate."""
    amounts: tuple[int, int, int, int]
    """Left, right, top, bottom, in pixels."""

    @property
    def sides(self) -> Pads:
        """Return the pads left and right alone."""
        return replace(self, amounts=(*self.amounts[:2], 0, 0))


def pads_of(node: fx.Node) -> Pads | None:
    """Return the pads of a call; None where it is none that copies pixels of an image."""
    mode = _OPERATORS.get(operator_name(node))
    if mode is None or value_of(node).dim() != 4:
        return None
    values = arguments_of(node)
    mode = mode or values["mode"]
    amounts = [int(n) for n in values.get("pad") or values["padding"]]
    if mode not in ("reflect", "replicate") or len(amounts) not in (2, 4) or min(amounts) < 0:
        return None
    left, right, top, bottom = (*amounts, 0, 0)[:4]
    return Pads(mode, (left, right, top, bottom))


def padded(values: Tensor, pads: Pads | None, rows: Sequence[Tensor] = ()) -> Tensor:
    """Return values (batch, channels, height, width) with pads, and further rows below them."""
    left, right, top, bottom = (0, 0, 0, 0) if pads is None else pads.amounts
    mode = "" if pads is None else pads.mode
    values = _joined(values, 3, _copies(values, 3, mode, left, right), ())
    return _joined(values, 2, _copies(values, 2, mode, top, bottom), rows)


def _copies(
    values: Tensor, axis: int, mode: str, before: int, behind: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the lines in front of an axis and behind it, in order."""
    last = values.shape[axis] - 1
    if mode == "replicate":
        places = [0] * before, [last] * behind
    else:
        places = list(range(before, 0, -1)), [last - n for n in range(1, behind + 1)]
    front, back = ([values.narrow(axis, n, 1) for n in side] for side in places)
    return front, back


def _joined(
    values: Tensor, axis: int, copies: tuple[list[Tensor], list[Tensor]], more: Sequence[Tensor]
) -> Tensor:
    pieces = [*copies[0], values, *copies[1], *more]
    return torch.cat(pieces, axis) if len(pieces) > 1 else values
