"""The windows of convolutions, as the file has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx

from gan_slimming.export.kernels.windows import spread
from gan_slimming.export.trace.graph import arguments_of
from gan_slimming.graph.nodes import operator_name, value_of

SAME, VALID = 0, 1
"""The format's numbers of its two kinds of padding."""


@dataclass(frozen=True)
class Window:
    """The window of a convolution or transposed convolution of an image."""

    kernel: tuple[int, int]
    """Rows and columns, like all pairs here."""
    stride: tuple[int, int]
    dilation: tuple[int, int]
    before: tuple[int, int]
    """Zeros above and to the left; of a transposed one, lines that are cut off there."""
    behind: tuple[int, int]
    """Zeros below and to the right."""
    groups: int
    transposed: bool

    @property
    def is_same(self) -> bool:
        """Return whether the format's padding SAME makes these zeros."""
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
        even = all(r == 2 * b for r, b in zip(reach, self.before, strict=True))
        return even and self.before == self.behind and self.stride == (1, 1)

    def made(self, rows: int, columns: int) -> tuple[int, int]:
        """Return the rows and columns made of an input, without zeros around it or cuts."""
        sides = zip((rows, columns), self.kernel, self.stride, self.dilation, strict=True)
        if self.transposed:
            height, width = ((n - 1) * s + k for n, k, s, _ in sides)
        else:
            height, width = ((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in sides)
        return height, width

    def zero_rows(self, rows: int, made: int) -> int:
        """Return how many rows of zeros keep a row below the input out of the output.

        Args:
            rows: of the input.
            made: rows of the output.
        """
        if not self.transposed:
            return self.before[0] if self.is_same else 0
        stride = self.stride[0]
        return max(0, -(-(self.before[0] + made - rows * stride) // stride))


def window_of(node: fx.Node) -> Window | None:
    """Return the window of a convolution; None where the format has none like it."""
    values, transposed = arguments_of(node), operator_name(node) == "conv_transpose2d"
    if value_of(node).dim() != 4 or value_of(node).shape[0] != 1:
        return None
    kernel = _pair(value_of(values["weight"]).shape[2:])
    stride, dilation = _pair(values["stride"]), _pair(values["dilation"])
    padding = values["padding"]
    if isinstance(padding, str):
        total = [d * (k - 1) if padding == "same" else 0
                 for d, k in zip(dilation, kernel, strict=True)]  # fmt: skip
        before = _pair([t // 2 for t in total])
        behind = _pair([t - t // 2 for t in total])
    else:
        before = behind = _pair(padding)
    if transposed and (values["groups"] != 1 or dilation != (1, 1)):
        return None
    return Window(kernel, stride, dilation, before, behind, values["groups"], transposed)


def _pair(value: Any) -> tuple[int, int]:
    first, second = spread(list(value) if not isinstance(value, int) else value, 2)
    return int(first), int(second)
