"""Pads, and the placement of quantisers in front of them, so that the pads move bytes."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from torch import fx

from gan_slimming.export.emitter import END, Emitter
from gan_slimming.export.trace.graph import arguments_of, unknown
from gan_slimming.graph.nodes import operator_name, value_of

PADS = frozenset({"pad", "constant_pad_nd"} | {
    f"{kind}_pad{dims}d" for kind in ("reflection", "replication") for dims in (1, 2, 3)
})  # fmt: skip
ONNX_MODES = {"reflect": "reflect", "replicate": "edge", "constant": "constant"}


def write_pad(emitter: Emitter, name: str, node: fx.Node, zero: str = "") -> str:
    """Pad the last axes of a value, with aten's amounts: from the last axis backwards.

    Args:
        zero: the code of 0, for padding codes.
    """
    mode, fill, pads = pad_of(node)
    dims = value_of(node).dim()
    if mode == "circular":
        return _circular(emitter, name, pads, dims)
    begin, end = [0] * dims, [0] * dims
    for place in range(len(pads) // 2):
        begin[-1 - place], end[-1 - place] = pads[2 * place], pads[2 * place + 1]
    operands = [name, emitter.sizes(begin + end)]
    if mode == "constant":
        operands.append(zero or emitter.scalar(fill))
    return emitter.emit("Pad", operands, mode=ONNX_MODES[mode])


def _circular(emitter: Emitter, name: str, pads: list[int], dims: int) -> str:
    """Write circular padding as a concatenation, because ONNX has it only since opset 19."""
    for place in range(len(pads) // 2):
        before, behind, axis = pads[2 * place], pads[2 * place + 1], dims - 1 - place
        pieces = [name]
        if before:
            pieces.insert(0, emitter.slice(name, axis, -before, END))
        if behind:
            pieces.append(emitter.slice(name, axis, 0, behind))
        name = emitter.emit("Concat", pieces, axis=axis) if len(pieces) > 1 else name
    return name


def pad_of(node: fx.Node) -> tuple[str, float, list[int]]:
    """Return mode, fill value and amounts of one of aten's padding operators."""
    values, name = arguments_of(node), operator_name(node)
    if name in ("pad", "constant_pad_nd"):
        mode, fill, pads = values.get("mode", "constant"), values["value"] or 0.0, values["pad"]
    else:
        mode, fill = ("reflect" if name.startswith("reflection") else "replicate"), 0.0
        pads = values["padding"]
    negative = any(isinstance(pad, int) and pad < 0 for pad in pads)
    if negative and mode != "constant":
        raise unknown(node)
    return mode, float(fill), list(pads)


def pads_behind(source: object, given: Container[fx.Node] = ()) -> list[fx.Node]:
    """Return the pads in front of a value, in order of execution, back to one of the values given.

    Only pads that copy values or add zeros count: a quantiser may move in front of them.
    """
    pads: list[fx.Node] = []
    while isinstance(source, fx.Node) and source not in given and source.op == "call_function":
        if operator_name(source) not in PADS or pad_of(source)[1] != 0.0:
            break
        pads.insert(0, source)
        source = source.args[0]
    return pads


def behind_pads(emitter: Emitter, source: fx.Node) -> tuple[fx.Node, list[fx.Node]]:
    """Return the value that a quantiser may read, and the pads between it and its layer."""
    pads = pads_behind(source, set(emitter.traced.sources.values()))
    base = pads[0].args[0] if pads else source
    assert isinstance(base, fx.Node)
    return base, pads


def without_zero_pads(
    emitter: Emitter, source: fx.Node, window: dict[str, Any]
) -> tuple[fx.Node, dict[str, Any]]:
    """Move zero padding that directly precedes a convolution into its own window.

    Returns:
        The convolution's new input and its window.
    """
    dims = len(window["pads"]) // 2
    for pad in reversed(pads_behind(source, set(emitter.traced.sources.values()))):
        mode, _, amounts = pad_of(pad)
        whole = all(isinstance(amount, int) and amount >= 0 for amount in amounts)
        if mode != "constant" or not whole or any(amounts[2 * dims :]):
            break
        amounts = [*amounts, *[0] * (2 * dims)][: 2 * dims]
        more = [*amounts[-2::-2], *amounts[::-2]]  # aten begins at the last axis, ONNX at the first
        pads = [old + new for old, new in zip(window["pads"], more, strict=True)]
        source, window = pad.args[0], {**window, "pads": pads}  # pyright: ignore
    return source, window
