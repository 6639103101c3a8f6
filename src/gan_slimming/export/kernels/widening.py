"""Channels of zeros that make a slim network quicker: an exact rewrite of whole channel spaces.

OpenVINO normalises channels in vectors of 16, and those that remain one by one: 32 channels take
two thirds of the time of 27. ONNX Runtime's quick convolutions from bytes to bytes want multiples
of 8. So every channel space that an instance normalisation reads is rounded up. The new channels
are zero where a convolution writes them, and meet zero weights where one reads them; what stands
between works on each channel alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from torch import fx

from gan_slimming.export.trace.graph import QuantizedLayer, TracedGenerator, arguments_of
from gan_slimming.graph.nodes import module_path, operator_name, value_of

LANES = 16
"""float32 numbers in the widest vector of a CPU, which OpenVINO normalises at once."""
ALONE = frozenset({
    "relu", "tanh", "sigmoid", "leaky_relu", "elu", "silu", "relu6", "hardtanh", "hardswish",
    "mish", "clone", "dropout", "pad", "constant_pad_nd", "reflection_pad2d", "replication_pad2d",
    "instance_norm",
})  # fmt: skip
"""Operators of one value that work on each channel alone."""
SUMS = frozenset({"add", "sub"})
READERS = frozenset({"conv2d", "conv_transpose2d"})


def widths_of(traced: TracedGenerator, lanes: int, *, on_bytes: bool = False) -> dict[fx.Node, int]:
    """Node -> channels that the file gives it, of every node that gets more than it has.

    Args:
        lanes: what the new numbers of channels are multiples of.
        on_bytes: only where every convolution that writes them rounds its sums to 8 bits.
    """
    found = {}
    for space in _spaces(traced):
        norms = [node for node in space if operator_name(node) == "instance_norm"]
        divides = norms and all(arguments_of(node)["eps"] > 0 for node in norms)  # 0 by 0 else
        channels = {value_of(node).shape[1] for node in space if norms}
        if len(channels) != 1 or not divides or not _is_closed(traced, space, on_bytes):
            continue
        narrow = channels.pop()
        if narrow % lanes and narrow > lanes // 2:
            found |= dict.fromkeys(space, -(-narrow // lanes) * lanes)
    return found


def widened(layer: QuantizedLayer, inputs: int | None, outputs: int | None) -> QuantizedLayer:
    """A layer with more channels of zeros, coming in or going out; None leaves them alone."""
    if layer.codes is None or layer.scale is None:
        return layer
    codes = pad_axis(pad_axis(layer.codes, 1 - layer.axis, inputs), layer.axis, outputs)
    made = layer.outputs
    if made is not None:
        made = replace(made, scale=pad_axis(made.scale, 0, outputs, 1.0))
    return replace(layer, codes=codes, scale=pad_axis(layer.scale, 0, outputs, 1.0), outputs=made)


def pad_axis(array: np.ndarray, axis: int, length: int | None, value: float = 0) -> np.ndarray:
    """An array made longer along one axis; None leaves it alone."""
    if length is None:
        return array
    pads = [(0, 0)] * array.ndim
    pads[axis] = (0, length - array.shape[axis])
    return np.pad(array, pads, constant_values=value)


def _spaces(traced: TracedGenerator) -> list[set[fx.Node]]:
    """Values that must have the same channels, because of what stands between them."""
    space: dict[fx.Node, set[fx.Node]] = {node: {node} for node in _values(traced)}
    for node in traced.nodes:
        name = operator_name(node).removesuffix("_")
        if name not in ALONE and not (name in SUMS and len(list(_read(traced, node))) == 2):
            continue
        for other in _read(traced, node):
            joined = space[node] | space[other]
            space.update(dict.fromkeys(joined, joined))
    return list({id(members): members for members in space.values()}.values())


def _values(traced: TracedGenerator) -> list[fx.Node]:
    return [*traced.sources.values(), *traced.nodes]


def _read(traced: TracedGenerator, node: fx.Node) -> Iterator[fx.Node]:
    """Values among a call's arguments, as often as they stand there; no parameters."""
    return (a for a in node.args if isinstance(a, fx.Node) and a not in traced.tensors)


def _is_closed(traced: TracedGenerator, space: set[fx.Node], on_bytes: bool) -> bool:
    """Whether only quantised convolutions write into it and read from it."""
    if traced.result in space or not space.isdisjoint(traced.sources.values()):
        return False
    inner = {n for n in space if operator_name(n).removesuffix("_") in ALONE | SUMS}
    users = {user for node in space for user in node.users} - space
    return all(_writes(traced, n, on_bytes) for n in space - inner) and all(
        operator_name(n) in READERS and n.args[0] in space and _is_whole(traced, n) for n in users
    )


def _writes(traced: TracedGenerator, node: fx.Node, on_bytes: bool) -> bool:
    """Whether a node is a convolution that can be given more channels."""
    if operator_name(node) != "conv2d" or not _is_whole(traced, node):
        return False
    outputs = traced.layers[module_path(node)].outputs
    return not on_bytes or (outputs is not None and outputs.full)


def _is_whole(traced: TracedGenerator, node: fx.Node) -> bool:
    """Whether a convolution's weights are integers, and in one group."""
    layer = traced.layers.get(module_path(node))
    return layer is not None and layer.codes is not None and arguments_of(node)["groups"] == 1
