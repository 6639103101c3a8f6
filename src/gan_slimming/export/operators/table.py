"""A strict table of a torch.export graph's operators in ONNX; others are refused by name.

Arithmetic and choices are here; every other family has its own file.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.int8.codes import scalable
from gan_slimming.export.int8.convolutions import linear
from gan_slimming.export.int8.pads import PADS, write_pad
from gan_slimming.export.operators.activations import ACTIVATIONS
from gan_slimming.export.operators.creation import CREATION
from gan_slimming.export.operators.fourier import FOURIER, OF_COMPLEX, is_complex
from gan_slimming.export.operators.norms import NORMS
from gan_slimming.export.operators.pixels import PIXELS
from gan_slimming.export.operators.pools import POOLS
from gan_slimming.export.operators.products import PRODUCTS
from gan_slimming.export.operators.reductions import REDUCTIONS
from gan_slimming.export.operators.shapes import SHAPES
from gan_slimming.export.trace.graph import arguments_of, is_identity, unknown
from gan_slimming.graph.nodes import operator_name, value_of

Handler = Callable[[Emitter, fx.Node], str]

SAME_NAME = {
    "relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "abs": "Abs", "neg": "Neg",
    "exp": "Exp", "sqrt": "Sqrt", "hardswish": "HardSwish", "log": "Log", "sin": "Sin",
    "cos": "Cos", "atan": "Atan", "floor": "Floor", "ceil": "Ceil", "round": "Round",
    "sign": "Sign", "reciprocal": "Reciprocal", "erf": "Erf", "selu": "Selu",
    "logical_not": "Not", "bitwise_not": "Not",
}  # fmt: skip
"""Operators of one argument that ONNX has unchanged."""
ARITHMETIC = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "rsub": "Sub"}
PAIRS = {"maximum": "Max", "minimum": "Min", "pow": "Pow"}
"""Operators of two arguments that ONNX has unchanged."""
COMPARISONS = {
    "gt": "Greater", "ge": "GreaterOrEqual", "lt": "Less", "le": "LessOrEqual", "eq": "Equal",
    "ne": "Equal",
}  # fmt: skip
LOGIC = {"and": "And", "or": "Or", "xor": "Xor"}


def write_node(emitter: Emitter, node: fx.Node) -> str:
    """Write the ONNX counterpart of one call.

    Raises:
        UserError: the table lacks the operator.
    """
    name = operator_name(node).strip("_")
    if any(is_complex(source) for source in node.all_input_nodes):
        if name not in OF_COMPLEX:
            raise unknown(node)
        return OF_COMPLEX[name](emitter, node)
    if is_identity(node):
        return emitter.value(node.args[0])
    if name in SAME_NAME:
        return emitter.emit(SAME_NAME[name], [emitter.value(node.args[0])])
    if name in ARITHMETIC:
        return _arithmetic(emitter, node, ARITHMETIC[name])
    if name in PAIRS:
        dtype = value_of(node).dtype
        return emitter.emit(PAIRS[name], [emitter.value(side, dtype) for side in node.args[:2]])
    if name in PADS:
        return write_pad(emitter, emitter.value(node.args[0]), node)
    if name not in TABLE:
        raise unknown(node)
    return TABLE[name](emitter, node)


def _arithmetic(emitter: Emitter, node: fx.Node, operator: str) -> str:
    values, dtype = arguments_of(node), value_of(node).dtype
    rounding = values.get("rounding_mode")
    if rounding not in (None, "floor") or (rounding and not dtype.is_floating_point):
        raise unknown(node)
    operands = [values["self"], values["other"]]
    if dtype.is_complex:  # of a number such as 1j
        raise unknown(node)
    if operator_name(node) == "rsub":
        operands.reverse()
    first, second = (emitter.value(operand, dtype) for operand in operands)
    if values.get("alpha", 1) != 1:
        second = emitter.emit("Mul", [second, emitter.scalar(values["alpha"], dtype)])
    if operator in ("Mul", "Div"):
        constants = [emitter.traced.tensors.get(x) for x in operands if isinstance(x, fx.Node)]
        scales = [scale for scale in constants if scale is not None]
        first, second = (scalable(emitter, name, scales) for name in (first, second))
    result = emitter.emit(operator, [first, second])
    return emitter.emit("Floor", [result]) if rounding else result


def _compare(emitter: Emitter, node: fx.Node) -> str:
    """Write a comparison, in the type in which torch compares."""
    values, name = arguments_of(node), operator_name(node)
    sides = [values["self"], values["other"]]
    samples = [value_of(s) if isinstance(s, fx.Node) else s for s in sides]
    dtype = torch.result_type(*samples)
    result = emitter.emit(COMPARISONS[name], [emitter.value(side, dtype) for side in sides])
    return emitter.emit("Not", [result]) if name == "ne" else result


def _logic(emitter: Emitter, node: fx.Node) -> str:
    name = operator_name(node).strip("_").removeprefix("logical_").removeprefix("bitwise_")
    if value_of(node).dtype != torch.bool:
        raise unknown(node)
    return emitter.emit(LOGIC[name], [emitter.value(side, torch.bool) for side in node.args[:2]])


def _where(emitter: Emitter, node: fx.Node) -> str:
    """Write where, or masked_fill as a where."""
    values, dtype = arguments_of(node), value_of(node).dtype
    if "self" not in values:
        raise unknown(node)
    operands = [values.get("condition"), values["self"], values.get("other")]
    if operator_name(node).startswith("masked_fill"):
        operands = [values["mask"], values["value"], values["self"]]
    choices = [emitter.value(operand, dtype) for operand in operands[1:]]
    return emitter.emit("Where", [emitter.value(operands[0]), *choices])


def _cast(emitter: Emitter, node: fx.Node) -> str:
    """Cast to another type; the file has float32 for all of torch's floating-point types."""
    return emitter.value(node.args[0], value_of(node).dtype)


def _cat(emitter: Emitter, node: fx.Node) -> str:
    values, dtype = arguments_of(node), value_of(node).dtype
    axis = values["dim"] % value_of(node).dim()
    return emitter.emit("Concat", [emitter.value(p, dtype) for p in values["tensors"]], axis=axis)


def _embedding(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    operands = [emitter.value(values["weight"]), emitter.value(values["indices"])]
    return emitter.emit("Gather", operands, axis=0)


def _rsqrt(emitter: Emitter, node: fx.Node) -> str:
    return emitter.emit("Reciprocal", [emitter.emit("Sqrt", [emitter.value(node.args[0])])])


def _square(emitter: Emitter, node: fx.Node) -> str:
    source = emitter.value(node.args[0])
    return emitter.emit("Mul", [source, source])


def _lerp(emitter: Emitter, node: fx.Node) -> str:
    """Write start + weight * (end - start)."""
    values = arguments_of(node)
    start, end, weight = (emitter.value(values[name]) for name in ("self", "end", "weight"))
    way = emitter.emit("Mul", [weight, emitter.emit("Sub", [end, start])])
    return emitter.emit("Add", [start, way])


def _added_term(emitter: Emitter, node: fx.Node) -> str:
    """Write addcmul or addcdiv: self + value * a * b, or / b."""
    values = arguments_of(node)
    operator = "Mul" if operator_name(node).startswith("addcmul") else "Div"
    operands = [emitter.value(values["tensor1"]), emitter.value(values["tensor2"])]
    term = emitter.emit(operator, operands)
    if values["value"] != 1:
        term = emitter.emit("Mul", [term, emitter.value(values["value"])])
    return emitter.emit("Add", [emitter.value(values["self"]), term])


TABLE: dict[str, Handler] = {
    "linear": linear, "rsqrt": _rsqrt, "square": _square, "lerp": _lerp,
    "addcmul": _added_term, "addcdiv": _added_term,
    "cat": _cat, "concat": _cat, "embedding": _embedding,
    **dict.fromkeys(COMPARISONS, _compare),
    **{f"{front}{name}": _logic for name in LOGIC for front in ("", "logical_", "bitwise_")},
    "where": _where, "masked_fill": _where, "to": _cast, "type_as": _cast,
    **ACTIVATIONS, **SHAPES, **PIXELS, **POOLS, **NORMS, **REDUCTIONS, **PRODUCTS, **CREATION,
    **FOURIER,
}  # fmt: skip
