"""A finished generator as a list of operators, with its quantised layers by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tag, Tensor, fx, nn
from torch.utils import _pytree as pytree

from gan_slimming.config import InputContract
from gan_slimming.data.dummy import input_shapes
from gan_slimming.errors import UserError
from gan_slimming.export.trace.dequantized import without_quantizers
from gan_slimming.export.trace.integers import (
    QuantizedLayer,
    array_of,
    layer_integers,
    quantized_layers,
)
from gan_slimming.export.trace.memory import refusal, writes
from gan_slimming.export.trace.tracing import Side, calls, sides_of, trace_calls
from gan_slimming.graph.nodes import operator_name

DROPS = frozenset({"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"})
"""Operators that leave every value unchanged in evaluation mode."""
IDENTITIES = frozenset({"clone", "contiguous", "detach", "alias", "positive", "lift_fresh_copy"})
"""Operators that leave every value unchanged."""
NOISE = frozenset({"randn", "rand", "randn_like", "rand_like", "normal", "uniform"})
"""Operators that draw random numbers, in place or not."""


@dataclass
class TracedGenerator:
    """A traced generator, as the exporters need it.

    Attributes:
        nodes: calls in the order of execution.
        tensors: node -> parameter, buffer or constant, quantised weights on their grid.
        layers: module path -> its integers.
        sources: placeholders of the inputs, by their names in the file: input for an image; z, and
            y for classes, for noise.
        result: the node of the output.
        redundant_biases: convolutions whose bias has no effect.
        step: height and width of the input are multiples of this many pixels.
        sides: height and width of the input.
        noisy: whether the forward draws random numbers, other ones each time.
        random: where it draws the same ones each time, what it draws them from.
    """

    nodes: list[fx.Node]
    tensors: dict[fx.Node, np.ndarray]
    layers: dict[str, QuantizedLayer]
    sources: dict[str, fx.Node]
    result: fx.Node
    redundant_biases: frozenset[fx.Node] = frozenset()
    step: int = 1
    sides: tuple[Side, ...] = ()
    noisy: bool = False
    random: torch.Generator | None = None


def trace(
    module: nn.Module, contract: InputContract, size: int, *, quantized: bool, batch: int = 2
) -> TracedGenerator:
    """Trace a generator.

    Args:
        module: from `extract` or `load_generator_file`.
        contract: its inputs and images.
        size: height and width, in pixels, of the traced image; the file takes all that the
            contract allows.
        quantized: keep the quantisers; False for float.
        batch: images in a second trace; 1 for a file of single images.
    Raises:
        UserError: it cannot be traced, depends on the size, or does not have the contract's
            inputs and one output.
    """
    plain = without_quantizers(module, clips=not quantized).cpu()
    step = contract.multiple_of
    labels = input_shapes(contract, size)
    steps = (1, 2) if step == 1 else (step,)  # odd sizes, where the contract allows them
    others = [input_shapes(contract, (2 * size + s, 3 * size + s), batch=batch) for s in steps]
    if contract.size:
        others = [input_shapes(contract, size, batch=batch)]
    program = trace_calls(plain, labels, others)
    nodes = list(program.graph.nodes)
    constants = _constants(program, plain)
    inputs = [n for n in nodes if n.op == "placeholder" and n not in constants]
    results = nodes[-1].all_input_nodes
    if len(inputs) != len(labels) or len(results) != 1:
        raise UserError(
            f"export takes generators of {len(labels)} input(s) and one output, got {len(inputs)} "
            f"and {len(results)}"
        )
    modules = quantized_layers(module) if quantized else {}
    layers = {path: layer_integers(path, layer) for path, layer in modules.items()}
    operations = [n for n in calls(program.graph) if n.users and n not in constants]
    redundant = frozenset(node for node in operations if _bias_is_redundant(node))
    tensors = {node: array_of(value) for node, value in constants.items()}
    sources = dict(zip(labels, inputs, strict=True))
    sides = sides_of(inputs[0])[2:]
    noisy = any(operator_name(node).strip("_") in NOISE for node in operations)
    random = torch.Generator().manual_seed(0) if noisy and contract.fixed_noise else None
    return TracedGenerator(
        operations, tensors, layers, sources, results[0], redundant, step, sides,
        noisy and random is None, random,
    )  # fmt: skip


def _constants(program: torch.export.ExportedProgram, plain: nn.Module) -> dict[fx.Node, Tensor]:
    """Return parameters, buffers and constants, and all values computed from them alone."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names |= signature.inputs_to_lifted_tensor_constants
    state: dict[str, Any] = dict(program.constants)
    state |= dict(plain.named_parameters(remove_duplicate=False))
    state |= dict(plain.named_buffers(remove_duplicate=False))
    known: dict[fx.Node, Any] = {}
    operations = set(calls(program.graph))
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names:
            known[node] = state[names[node.name]].detach()
        elif node in operations and _is_constant(node, known):
            args, kwargs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*args, **kwargs)
    return {node: value for node, value in known.items() if isinstance(value, Tensor)}


def _is_constant(node: fx.Node, known: dict[fx.Node, Any]) -> bool:
    """Return whether a call has the same result at every size and every time."""
    tags = getattr(node.target, "tags", ())
    symbols = (torch.SymInt, torch.SymFloat)
    leaves = pytree.tree_leaves((node.args, node.kwargs))
    fixed = not any(isinstance(value, symbols) for value in leaves)
    kept = operator_name(node).startswith(("conv", "linear"))  # its input may be quantised
    own = not kept and (not writes(node) or operator_name(node) == "detach_")
    sources = set(node.all_input_nodes)
    return own and fixed and sources <= known.keys() and Tag.nondeterministic_seeded not in tags


def _bias_is_redundant(node: fx.Node) -> bool:
    """Return whether only instance normalisations, which subtract the bias, read a convolution."""
    return operator_name(node).startswith("conv") and all(
        operator_name(user) == "instance_norm" and arguments_of(user)["use_input_stats"]
        for user in node.users
    )


def arguments_of(node: fx.Node) -> dict[str, Any]:
    """Return every argument of a call by its name in the operator's schema, defaults included."""
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


def is_identity(node: fx.Node) -> bool:
    """Return whether a call leaves every value unchanged, as dropout does in evaluation mode.

    Raises:
        UserError: it is dropout that the forward itself calls with training=True.
    """
    name = operator_name(node).strip("_")
    if name in DROPS and node.args[2] and node.args[1]:
        raise refusal(node, "drops values at random also in eval(); leave training=True out")
    return name in IDENTITIES or name in DROPS


def unknown(node: fx.Node) -> UserError:
    """Return the refusal of an operator, with its name and place."""
    return refusal(
        node, "cannot be exported; write that step with operators of the table in "
        "gan_slimming/export/operators/table.py"
    )  # fmt: skip
