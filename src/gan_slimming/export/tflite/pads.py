"""Pads as slices and concatenations: XNNPACK has no reflection, and its zeros are slower."""

from __future__ import annotations

from torch import fx

from gan_slimming.export.tflite.emitter import Emitter, unknown
from gan_slimming.export.trace.graph import arguments_of
from gan_slimming.export.xnnpack.pads import Pads, pads_of
from gan_slimming.graph.nodes import operator_name, value_of

ROWS, COLUMNS = 1, 2
"""Axes of the file."""
_AT_ONCE = 4
"""Values that XNNPACK joins at once."""
ZEROS = "zeros"
"""A mode beside reflect and replicate."""


def write_pad(emitter: Emitter, node: fx.Node) -> int:
    """Write a pad of an image by copies or by zeros."""
    values = arguments_of(node)
    source = emitter.value(node.args[0])
    pads = pads_of(node)
    if pads is None:
        amounts = [int(n) for n in values.get("pad") or values.get("padding") or ()]
        whole = value_of(node).dim() == 4 and len(amounts) in (2, 4) and min(amounts) >= 0
        if not whole or values.get("mode", "constant") != "constant" or values.get("value"):
            raise unknown(node)
        left, right, top, bottom = (*amounts, 0, 0)[:4]
        pads = Pads(ZEROS, (left, right, top, bottom))
    return padded(emitter, source, pads)


def is_pad(node: fx.Node) -> bool:
    """Return whether a call pads."""
    name = operator_name(node)
    return name in ("pad", "constant_pad_nd") or name.endswith("_pad2d")


def padded(emitter: Emitter, tensor: int, pads: Pads | None) -> int:
    """Return a value (1, height, width, channels) with pads."""
    if pads is None:
        return tensor
    left, right, top, bottom = pads.amounts
    tensor = _along(emitter, tensor, COLUMNS, pads.mode, left, right)
    return _along(emitter, tensor, ROWS, pads.mode, top, bottom)


def zero_line(emitter: Emitter, tensor: int, axis: int) -> int:
    """Return one line of zeros along the other axis, without its bytes in the file."""
    line = emitter.narrowed(tensor, axis, 0, 1)
    return emitter.pair("MUL", line, emitter.value(0.0))


def below(emitter: Emitter, tensor: int, lines: list[int]) -> int:
    """Return a value with further lines below it."""
    return emitter.joined([tensor, _bundle(emitter, lines, ROWS)], ROWS) if lines else tensor


def _along(emitter: Emitter, tensor: int, axis: int, mode: str, before: int, behind: int) -> int:
    if not before and not behind:
        return tensor
    last = emitter.model.shape(tensor)[axis] - 1
    if mode == ZEROS:
        zero = zero_line(emitter, tensor, axis)
        sides = [zero] * before, [zero] * behind
    else:
        places = list(range(before, 0, -1)), [last - n for n in range(1, behind + 1)]
        if mode == "replicate":
            places = [0] * before, [last] * behind
        sides = tuple([emitter.narrowed(tensor, axis, n, 1) for n in side] for side in places)
    front, back = ([_bundle(emitter, side, axis)] if side else [] for side in sides)
    return emitter.joined([*front, tensor, *back], axis)


def _bundle(emitter: Emitter, lines: list[int], axis: int) -> int:
    """Return lines joined to one value."""
    while len(lines) > 1:
        parts = [lines[n : n + _AT_ONCE] for n in range(0, len(lines), _AT_ONCE)]
        lines = [emitter.joined(part, axis) for part in parts]
    return lines[0]
