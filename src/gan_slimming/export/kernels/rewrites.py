"""Exact rewrites of layers into operators that runtimes have in int8, as pure functions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class SubpixelConvolution(NamedTuple):
    """A transposed convolution as a convolution of stride 1 and a depth-to-space.

    Attributes:
        weight: (stride**2 * out, in, k, k); channel (row * stride + column) * out + c becomes
            channel c of the pixel (row, column) of each stride x stride cell (ONNX mode 'DCR').
        pads: zeros to pad at the top, left, bottom and right.
    """

    weight: np.ndarray
    pads: tuple[int, int, int, int]


def overhang(kernel: int, stride: int, padding: int, output_padding: int) -> tuple[int, int]:
    """Return how far a transposed convolution exceeds stride pixels per input, in one direction.

    Returns:
        cells, crop: further cells of stride pixels at the end, and pixels to cut off from them.
    """
    beyond = kernel + output_padding - stride - 2 * padding
    cells = max(0, -(-beyond // stride))
    return cells, cells * stride - beyond


def subpixel_convolution(
    weight: np.ndarray, stride: int, padding: tuple[int, int]
) -> SubpixelConvolution:
    """Return the convolution that computes all stride**2 phases of a transposed one side by side.

    Output row stride * q + r reads input row q + (r + padding) // stride - j, with the kernel's row
    (r + padding) % stride + stride * j, for every j that the kernel has; the same for columns.

    Args:
        weight: (in, out, height, width) of the transposed convolution, any type of number.
        stride: the same in both directions.
        padding: of the transposed convolution.
    Returns:
        A convolution to exactly stride pixels per input; `overhang` gives the difference.
    """
    inputs, outputs, height, width = weight.shape
    rows, top, bottom = _taps(height, stride, padding[0])
    columns, left, right = _taps(width, stride, padding[1])
    shape = (stride, stride, outputs, inputs, top + bottom + 1, left + right + 1)
    spread = np.zeros(shape, weight.dtype)
    for row, at_row, from_row in rows:
        for column, at_column, from_column in columns:
            tap = weight[:, :, from_row, from_column].T
            spread[row, column, :, :, at_row, at_column] = tap
    joined = spread.reshape(stride * stride * outputs, *shape[3:])
    return SubpixelConvolution(joined, (top, left, bottom, right))


def subpixel_rows(
    weight: np.ndarray, stride: int, padding: tuple[int, int]
) -> list[SubpixelConvolution]:
    """Return one convolution for each row of the cells, with only the kernel rows that it reads.

    `subpixel_convolution` multiplies by zeros where a phase reads fewer rows. With kernel 4 and
    stride 2, every phase reads 2 of 3 rows.

    Returns:
        For each row of the cells, in order, the weight, (stride * out, in, rows, k), and the pads.
        Channel column * out + c becomes channel c of the pixel in that column.
    """
    whole, (top, left, _, right) = subpixel_convolution(weight, stride, padding)
    rows, _, _ = _taps(weight.shape[2], stride, padding[0])
    convolutions = []
    for row, part in enumerate(np.split(whole, stride)):
        places = [at for phase, at, _ in rows if phase == row]
        first, last = min([top, *places]), max([top, *places])
        pads = (top - first, left, last - top, right)
        convolutions.append(SubpixelConvolution(part[:, :, first : last + 1], pads))
    return convolutions


def phases_as_channels(
    weight: np.ndarray, stride: int, padding: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the convolution that computes all phases of a transposed one of signals.

    As `subpixel_convolution`, along one axis.

    Args:
        weight: (in, out, length) of the transposed convolution, any type of number.
    Returns:
        The weight, (stride * out, in, k), whose channel phase * out + c becomes sample `phase` of
        channel c in each cell; and the zeros to pad before and behind.
    """
    inputs, outputs, length = weight.shape
    taps, before, behind = _taps(length, stride, padding)
    spread = np.zeros((stride, outputs, inputs, before + behind + 1), weight.dtype)
    for phase, at, place in taps:
        spread[phase, :, :, at] = weight[:, :, place].T
    return spread.reshape(stride * outputs, *spread.shape[2:]), (before, behind)


def rows_as_channels(weight: np.ndarray) -> np.ndarray:
    """Turn a convolution of stride 1 into one with a single kernel row, and a sum of slices.

    New output channel r * out + c is the contribution of kernel row r to channel c, r rows further
    down: y[c, h] = sum over r of z[r * out + c, h + r]. A runtime that copies every pixel once per
    kernel place then copies it once per kernel column.

    Args:
        weight: (out, in, height, width), any type of number.
    Returns:
        (height * out, in, 1, width)
    """
    outputs, inputs, height, width = weight.shape
    return weight.transpose(2, 0, 1, 3).reshape(height * outputs, inputs, 1, width)


def rows_as_inputs(weight: np.ndarray, multiple: int = 1) -> np.ndarray:
    """Turn a convolution of stride 1 into one with a single kernel row, on stacked input rows.

    New input channel r * in + c is old channel c, r rows further down:
    x'[r * in + c, h] = x[c, h + r]. A runtime that multiplies kernel places one after the other has
    height times fewer of them, with more products each.

    Args:
        weight: (out, in, height, width), any type of number.
        multiple: the new number of input channels is a multiple of it; the last ones meet zeros.
    Returns:
        (out, height * in rounded up, 1, width)
    """
    outputs, inputs, height, width = weight.shape
    rows = weight.transpose(0, 2, 1, 3).reshape(outputs, height * inputs, 1, width)
    return np.pad(rows, [(0, 0), (0, -height * inputs % multiple), (0, 0), (0, 0)])


def blocks_as_channels(weight: np.ndarray, block: int) -> np.ndarray:
    """Turn a convolution of stride 1 into one of stride `block` that computes block**2 pixels.

    New output channel (row * block + column) * out + c is channel c of that pixel of each block
    (depth-to-space 'DCR'). The new kernel is the old one at every shift, with zeros around it. A
    runtime computes 16 output channels in the time of 3, and so an image's 3 in a third of it.

    Args:
        weight: (out, in, height, width), any type of number.
        block: rows and columns of a block; the output's height and width are multiples of it.
    Returns:
        (block**2 * out, in, height + block - 1, width + block - 1)
    """
    outputs, inputs, height, width = weight.shape
    larger = (height + block - 1, width + block - 1)
    spread = np.zeros((block, block, outputs, inputs, *larger), weight.dtype)
    for row in range(block):
        for column in range(block):
            spread[row, column, :, :, row : row + height, column : column + width] = weight
    return spread.reshape(block * block * outputs, inputs, *larger)


def lowered_sums(codes: np.ndarray, scale: np.ndarray, low: int, step: float) -> np.ndarray:
    """Return the correction of sums for inputs that are raised so that their lowest code is 0.

    conv(x) = conv(x - low * step) + low * step * sum(weight), where no zeros are padded.

    Args:
        codes, scale: (out, in, *kernel) and (out,); a weight is their product.
        low, step: the inputs' lowest code, and the value of one.
    Returns:
        (out,) float64
    """
    sums = codes.astype(np.float64).sum(tuple(range(1, codes.ndim)))
    return low * np.float64(step) * sums * scale.astype(np.float64)


def _taps(kernel: int, stride: int, padding: int) -> tuple[list[tuple[int, int, int]], int, int]:
    """Return (phase, place in the new kernel, in the old one), and zeros before and behind."""
    taps = []
    for phase in range(stride):
        shift, first = divmod(phase + padding, stride)
        taps += [(phase, shift - j, t) for j, t in enumerate(range(first, kernel, stride))]
    before = max(0, -min(offset for _, offset, _ in taps))
    behind = max(0, max(offset for _, offset, _ in taps))
    return [(phase, offset + before, t) for phase, offset, t in taps], before, behind
