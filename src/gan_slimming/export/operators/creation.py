"""The creation of tensors from numbers in ONNX, with shapes that follow the size of the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.trace.graph import arguments_of
from gan_slimming.graph.nodes import operator_name, value_of

FILLS = {"zeros": 0, "ones": 1}


def _full(emitter: Emitter, node: fx.Node) -> str:
    """Write zeros, ones or full, in a given shape or in another tensor's."""
    values, name = arguments_of(node), operator_name(node)
    kind = name.removeprefix("new_").removesuffix("_like")
    number = values.get("fill_value", FILLS.get(kind))
    fill = emitter.value(number, value_of(node).dtype)
    if name.endswith("_like"):
        return emitter.emit("Expand", [fill, emitter.shape_of(emitter.value(node.args[0]))])
    return emitter.emit("Expand", [fill, emitter.sizes(list(values["size"]))])


def _arange(emitter: Emitter, node: fx.Node) -> str:
    values, dtype = arguments_of(node), value_of(node).dtype
    numbers: list[Any] = [values.get("start", 0), values["end"], values.get("step", 1)]
    return emitter.emit("Range", [emitter.value(number, dtype) for number in numbers])


CREATION: dict[str, Callable[[Emitter, fx.Node], str]] = {
    **{f"{front}{kind}{behind}": _full for kind in ("zeros", "ones", "full")
       for front, behind in (("", ""), ("new_", ""), ("", "_like"))},
    "arange": _arange,
}  # fmt: skip
