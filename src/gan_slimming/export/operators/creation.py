"""The creation of tensors from numbers in ONNX, with shapes that follow the size of the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnx import TensorProto
from torch import fx

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.trace.graph import NOISE, arguments_of, unknown
from gan_slimming.export.trace.tracing import sides_of
from gan_slimming.graph.nodes import operator_name, value_of

FILLS = {"zeros": 0, "ones": 1, "empty": 0}
UNIFORM = frozenset({"rand", "rand_like", "uniform"})


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


def _random(emitter: Emitter, node: fx.Node) -> str:
    """Write random numbers: of a given shape, of another tensor's, or in place of a tensor's."""
    values, name = arguments_of(node), operator_name(node).strip("_")
    if any(values.get(key) not in (None, default) for key, default in PLAIN.items()):
        raise unknown(node)
    if emitter.traced.random is not None:
        return _fixed(emitter, node, emitter.traced.random)
    zeros = emitter.scalar(0.0)
    shape = emitter.sizes(list(values["size"])) if "size" in values else None
    shape = emitter.shape_of(emitter.value(node.args[0])) if shape is None else shape
    zeros = emitter.emit("Expand", [zeros, shape])
    if not emitter.noise:
        return zeros
    if name in UNIFORM:
        return emitter.emit("RandomUniformLike", [zeros], dtype=TensorProto.FLOAT)
    return emitter.emit("RandomNormalLike", [zeros], dtype=TensorProto.FLOAT)


def _fixed(emitter: Emitter, node: fx.Node, random: torch.Generator) -> str:
    """Write noise as a constant, drawn as the forward draws it; its shape must be one for all."""
    if not all(side.fixed for side in sides_of(node)):
        raise unknown(node)
    name = operator_name(node).strip("_")
    draw = torch.rand if name in UNIFORM else torch.randn
    return emitter.constant(draw(value_of(node).shape, generator=random).numpy(), "noise")


PLAIN = {"mean": 0.0, "std": 1.0, "from": 0.0, "to": 1.0}
"""Parameters of the distributions that a file draws from."""
CREATION: dict[str, Callable[[Emitter, fx.Node], str]] = {
    **{f"{front}{kind}{behind}": _full for kind in ("zeros", "ones", "full", "empty")
       for front, behind in (("", ""), ("new_", ""), ("", "_like"))},
    "arange": _arange, **dict.fromkeys(NOISE, _random),
}  # fmt: skip
