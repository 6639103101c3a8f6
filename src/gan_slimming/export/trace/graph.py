"""A finished generator as a list of operators, with its quantised layers known by name."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tag, Tensor, fx, nn
from torch.utils import _pytree as pytree

from gan_slimming.config import InputContract
from gan_slimming.data.dummy import input_shapes
from gan_slimming.errors import UserError
from gan_slimming.export.trace.memory import refusal, writes
from gan_slimming.export.trace.tracing import Side, calls, sides_of, trace_calls
from gan_slimming.graph.nodes import operator_name
from gan_slimming.quantization.affine import along, quantize
from gan_slimming.student.layers import SLIM, SlimConvolution, output_axis, to_plain
from gan_slimming.student.student import replace_module

FULL = ((-128, 127), (0, 255))
"""The codes of 8 bits, signed and unsigned."""


@dataclass(frozen=True)
class Codes:
    """How a layer's input is quantised: codes in [low, high], a value is scale * code."""

    scale: float
    low: int
    high: int

    @property
    def signed(self) -> bool:
        return self.low < 0

    @property
    def full(self) -> bool:
        """Whether they are all that fit a byte."""
        return (self.low, self.high) in FULL


@dataclass(frozen=True)
class OutputCodes:
    """How a layer's sums are quantised: codes in [low, high], scale is (output channels,)."""

    scale: np.ndarray
    low: int
    high: int

    @property
    def full(self) -> bool:
        return (self.low, self.high) in FULL

    def tiled(self, factor: int) -> OutputCodes:
        """Those of a convolution that makes factor x factor pixels at once; 0 for one."""
        return dataclasses.replace(self, scale=np.tile(self.scale, factor**2)) if factor else self


@dataclass(frozen=True)
class QuantizedLayer:
    """The integers of one layer, as training left them.

    Attributes:
        codes: the weight's shape, int8; None where the weight is in float.
        scale: (output channels,) float32; a weight is scale * code along `axis`.
        axis: the weight's axis of output channels.
        inputs: None where the input is in float.
        outputs: of the sums in front of the bias, None where they are in float.
    """

    codes: np.ndarray | None
    scale: np.ndarray | None
    axis: int
    inputs: Codes | None
    outputs: OutputCodes | None = None


@dataclass
class TracedGenerator:
    """What the exporters write out.

    Attributes:
        nodes: calls in the order of execution.
        tensors: node -> parameter, buffer or constant, quantised weights on their grid.
        layers: module path -> its integers.
        sources: placeholders of the inputs by the names that they get in the file: input for a
            image; z, and y for classes, for noise.
        result: the node of the output.
        redundant_biases: convolutions whose bias changes nothing.
        step: heights and widths of the input are multiples of this many pixels.
        sides: height and width of the input.
    """

    nodes: list[fx.Node]
    tensors: dict[fx.Node, np.ndarray]
    layers: dict[str, QuantizedLayer]
    sources: dict[str, fx.Node]
    result: fx.Node
    redundant_biases: frozenset[fx.Node] = frozenset()
    step: int = 1
    sides: tuple[Side, ...] = ()


def is_quantized(module: nn.Module) -> bool:
    """Whether any layer of the generator has a quantiser."""
    return bool(quantized_layers(module))


def quantized_layers(module: nn.Module) -> dict[str, Any]:
    """Path -> layer, of those with a quantiser."""
    return {
        name: layer
        for name, layer in module.named_modules(remove_duplicate=False)
        if isinstance(layer, SlimConvolution)
        and (layer.weight_quantizer is not None or layer.input_quantizer is not None)
    }


def without_quantizers(module: nn.Module) -> nn.Module:
    """A copy of standard layers only, with quantised weights on their grid, in evaluation mode.

    This is what the float export computes.
    """
    plain = copy.deepcopy(module).eval()
    for name, layer in list(plain.named_modules(remove_duplicate=False)):
        if not isinstance(layer, tuple(SLIM.values())):
            continue
        if getattr(layer, "gate", None) is not None:
            raise UserError(f"{name} still has a gate; export what extract() returned")
        quantizer = getattr(layer, "weight_quantizer", None)
        if quantizer is not None:
            with torch.no_grad():
                layer.weight.copy_(quantizer(layer.weight))  # pyright: ignore
        replace_module(plain, name, to_plain(layer))
    return plain


def layer_integers(path: str, layer: Any) -> QuantizedLayer:
    """The integers of a quantised layer.

    Raises:
        UserError: more than 8 bits, which no runtime's int8 holds.
    """
    weights = layer.weight_quantizer
    for quantizer in (weights, layer.input_quantizer, layer.output_quantizer):
        if quantizer is not None and quantizer.bits > 8:
            raise UserError(
                f"{path} is quantised to {quantizer.bits} bits; export takes up to 8, or "
                "--quantization none"
            )
    axis = output_axis(layer)
    codes = scale = None
    if weights is not None:
        spread = along(weights.scale, axis, layer.weight.dim())
        found = quantize(layer.weight.detach(), spread, *weights.codes)
        codes, scale = found.to(torch.int8).cpu().numpy(), array_of(weights.scale)
    reads = gives = None
    if (inputs := layer.input_quantizer) is not None:
        reads = Codes(float(inputs.scale.detach().float()), *inputs.codes)
    if (outputs := layer.output_quantizer) is not None:
        gives = OutputCodes(array_of(outputs.scale), *outputs.codes)
    return QuantizedLayer(codes, scale, axis, reads, gives)


def array_of(tensor: Tensor) -> np.ndarray:
    """A copy for numpy, float32 where it is floating point."""
    kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", kind).contiguous().numpy().copy()


def trace(
    module: nn.Module, contract: InputContract, size: int, *, quantized: bool
) -> TracedGenerator:
    """Walk a generator once.

    Args:
        module: what `extract` or `load_generator_file` returns.
        contract: what it takes.
        size: height and width of the image that is traced; the file takes any size.
        quantized: keep the quantisers; False for float.
    Raises:
        UserError: it cannot be traced, depends on the size, or has other than one input and output.
    """
    plain = without_quantizers(module).cpu()
    step = contract.multiple_of
    labels = input_shapes(contract, size)
    steps = (1, 2) if step == 1 else (step,)  # odd sizes, where the contract allows them
    others = [input_shapes(contract, (2 * size + s, 3 * size + s), batch=2) for s in steps]
    program = trace_calls(plain, labels, others)
    nodes = list(program.graph.nodes)
    held = _constants(program, plain)
    given = [n for n in nodes if n.op == "placeholder" and n not in held]
    results = nodes[-1].all_input_nodes
    if len(given) != len(labels) or len(results) != 1:
        raise UserError(
            f"export takes generators of {len(labels)} input(s) and one output, got {len(given)} "
            f"and {len(results)}"
        )
    found = quantized_layers(module) if quantized else {}
    layers = {path: layer_integers(path, layer) for path, layer in found.items()}
    made = [n for n in calls(program.graph) if n.users and n not in held]
    redundant = frozenset(node for node in made if _bias_is_redundant(node))
    tensors = {node: array_of(value) for node, value in held.items()}
    sources = dict(zip(labels, given, strict=True))
    sides = sides_of(given[0])[2:]
    return TracedGenerator(made, tensors, layers, sources, results[0], redundant, step, sides)


def _constants(program: torch.export.ExportedProgram, plain: nn.Module) -> dict[fx.Node, Tensor]:
    """Parameters, buffers and constants, and all that is computed from nothing else."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names |= signature.inputs_to_lifted_tensor_constants
    state: dict[str, Any] = dict(program.constants)
    state |= dict(plain.named_parameters(remove_duplicate=False))
    state |= dict(plain.named_buffers(remove_duplicate=False))
    known: dict[fx.Node, Any] = {}
    made = set(calls(program.graph))
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names:
            known[node] = state[names[node.name]].detach()
        elif node in made and _is_constant(node, known):
            args, kwargs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*args, **kwargs)
    return {node: value for node, value in known.items() if isinstance(value, Tensor)}


def _is_constant(node: fx.Node, known: dict[fx.Node, Any]) -> bool:
    """Whether a call gives the same at every size, and every time."""
    tags = getattr(node.target, "tags", ())
    symbols = (torch.SymInt, torch.SymFloat)
    given = pytree.tree_leaves((node.args, node.kwargs))
    fixed = not any(isinstance(value, symbols) for value in given)
    kept = operator_name(node).startswith(("conv", "linear"))  # its input may be quantised
    own = not kept and (not writes(node) or operator_name(node) == "detach_")
    read = set(node.all_input_nodes)
    return own and fixed and read <= known.keys() and Tag.nondeterministic_seeded not in tags


def _bias_is_redundant(node: fx.Node) -> bool:
    """Whether only instance normalisations read a convolution: they subtract its bias again."""
    return operator_name(node).startswith("conv") and all(
        operator_name(user) == "instance_norm" and arguments_of(user)["use_input_stats"]
        for user in node.users
    )


def arguments_of(node: fx.Node) -> dict[str, Any]:
    """Every argument of a call by its name in the operator's schema, defaults included."""
    schema: Any = getattr(node.target, "_schema", None)
    if schema is None:
        raise unknown(node)
    values = {}
    for position, argument in enumerate(schema.arguments):
        if position < len(node.args):
            values[argument.name] = node.args[position]
        elif argument.name in node.kwargs:
            values[argument.name] = node.kwargs[argument.name]
        else:
            values[argument.name] = argument.default_value
    return values


def unknown(node: fx.Node) -> UserError:
    """The refusal of an operator, by its name and place."""
    return refusal(
        node, "cannot be exported; write that step with operators of the table in "
        "gan_slimming/exporters/operators.py"
    )  # fmt: skip
