"""A finished generator as a list of operators, with its quantised layers known by name.

The generator is traced twice by torch.export without its quantisers, at two sizes and two batches:
an operator whose arguments follow the size would be frozen at one of them, and is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from gan_slimming.config import InputContract, UserError
from gan_slimming.layers import SLIM, SlimConvolution, output_axis, to_plain
from gan_slimming.pruning.nodes import module_path, operator_name, value_of
from gan_slimming.quantization.affine import along, quantize
from gan_slimming.student import replace_module

RESHAPES = frozenset({"view", "reshape", "flatten"})


@dataclass(frozen=True)
class InputCodes:
    """How a layer's input is quantised: codes in [low, high], a value is scale * code."""

    scale: float
    low: int
    high: int

    @property
    def signed(self) -> bool:
        return self.low < 0


@dataclass(frozen=True)
class QuantizedLayer:
    """The integers of one layer, as training left them.

    Attributes:
        codes: the weight's shape, int8; None where the weight is in float.
        scale: (output channels,) float32; a weight is scale * code along `axis`.
        axis: the weight's axis of output channels.
        inputs: None where the input is in float.
    """

    codes: np.ndarray | None
    scale: np.ndarray | None
    axis: int
    inputs: InputCodes | None


@dataclass
class TracedGenerator:
    """What the exporters write out.

    Attributes:
        nodes: calls in the order of execution.
        tensors: placeholder -> parameter or buffer, quantised weights on their grid.
        layers: module path -> its integers.
        sources: placeholders of the inputs by the names that they get in the file: input for a
            picture; z, and y for classes, for noise.
        result: the node of the output.
        lost: convolutions whose bias changes nothing.
        step: heights and widths of the input are multiples of this many pixels.
        sides: height and width of the input as it was traced.
    """

    nodes: list[fx.Node]
    tensors: dict[fx.Node, np.ndarray]
    layers: dict[str, QuantizedLayer]
    sources: dict[str, fx.Node]
    result: fx.Node
    lost: frozenset[fx.Node] = frozenset()
    step: int = 1
    sides: tuple[int, ...] = ()


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
    weights, inputs = layer.weight_quantizer, layer.input_quantizer
    for quantizer in (weights, inputs):
        if quantizer is not None and quantizer.bits > 8:
            raise UserError(
                f"{path} is quantised to {quantizer.bits} bits; export takes up to 8, or --form "
                "float"
            )
    axis = output_axis(layer)
    codes = scale = None
    if weights is not None:
        spread = along(weights.scale, axis, layer.weight.dim())
        found = quantize(layer.weight.detach(), spread, *weights.codes)
        codes, scale = found.to(torch.int8).cpu().numpy(), array_of(weights.scale)
    reads = None
    if inputs is not None:
        reads = InputCodes(float(inputs.scale.detach().float()), *inputs.codes)
    return QuantizedLayer(codes, scale, axis, reads)


def array_of(tensor: Tensor) -> np.ndarray:
    """A float32 copy for numpy."""
    return tensor.detach().to("cpu", torch.float32).contiguous().numpy().copy()


def trace(
    module: nn.Module, contract: InputContract, size: int, *, quantized: bool
) -> TracedGenerator:
    """Walk a generator once.

    Args:
        module: what `extract` or `load_generator_file` returns.
        contract: what it takes.
        size: height and width of the picture that is traced; the file takes any size.
        quantized: keep the quantisers; False for the float form.
    Raises:
        UserError: it cannot be traced, depends on the size, or has other than one input and output.
    """
    plain = without_quantizers(module).cpu()
    step = max(contract.multiple_of, 2)
    first = _export(plain, trial_shapes(contract, 1, size, size))
    second = _export(plain, trial_shapes(contract, 2, size + step, size + 2 * step))
    _check_free_of_size(first.graph, second.graph)
    signature = first.graph_signature
    names: Mapping[str, str] = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    state = {**dict(plain.named_parameters(remove_duplicate=False))}
    state |= dict(plain.named_buffers(remove_duplicate=False))
    nodes = list(first.graph.nodes)
    held = [n for n in nodes if n.op == "placeholder"]
    tensors = {n: array_of(state[names[n.name]]) for n in held if n.name in names}
    given = [n for n in held if n.name not in names]
    results = nodes[-1].all_input_nodes
    labels = list(trial_shapes(contract, 1, size, size))
    if len(given) != len(labels) or len(results) != 1:
        raise UserError(
            f"export takes generators of {len(labels)} input(s) and one output, got {len(given)} "
            f"and {len(results)}"
        )
    found = quantized_layers(module) if quantized else {}
    layers = {path: layer_integers(path, layer) for path, layer in found.items()}
    calls = [n for n in nodes if n.op == "call_function"]
    lost = frozenset(node for node in calls if _bias_is_lost(node))
    sources = dict(zip(labels, given, strict=True))
    step, sides = contract.multiple_of, tuple(value_of(given[0]).shape[2:])
    return TracedGenerator(calls, tensors, layers, sources, results[0], lost, step, sides)


def trial_shapes(
    contract: InputContract, batch: int, height: int, width: int
) -> dict[str, tuple[int, ...]]:
    """Name of each input in the file -> its shape, in the order that the generator takes them."""
    if not contract.latent_size:
        return {"input": (batch, contract.channels, height, width)}
    classes: dict[str, tuple[int, ...]] = {"y": (batch,)} if contract.classes else {}
    return {"z": (batch, contract.latent_size), **classes}


def _bias_is_lost(node: fx.Node) -> bool:
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
    return UserError(
        f"operator '{operator_name(node)}' in module '{module_path(node) or 'the generator'}' "
        "cannot be exported; write that step with operators of the table in "
        "gan_slimming/exporters/operators.py"
    )


def _export(
    module: nn.Module, shapes: Mapping[str, tuple[int, ...]]
) -> torch.export.ExportedProgram:
    inputs = tuple(
        torch.zeros(shape, dtype=torch.int64 if name == "y" else None)
        for name, shape in shapes.items()
    )
    try:
        return torch.export.export(module, inputs, strict=False)
    except Exception as error:  # torch.export raises many kinds; each means the same to a user
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        told = " and ".join("x".join(map(str, shape)) for shape in shapes.values())
        raise UserError(
            f"the generator cannot be traced with an input of {told} ({first}); try another --size"
        ) from error


def _check_free_of_size(first: fx.Graph, second: fx.Graph) -> None:
    """The same calls with the same arguments, whatever the size of the picture."""
    ours, theirs = list(first.nodes), list(second.nodes)
    if len(ours) != len(theirs):
        raise UserError("the generator does something else at another size; it cannot be exported")
    for one, other in zip(ours, theirs, strict=True):
        if one.op != "call_function":
            continue
        if operator_name(one) in RESHAPES:
            same = value_of(one).shape[1:] == value_of(other).shape[1:]
        else:
            same = (one.target, _frozen(one)) == (other.target, _frozen(other))
        if not same:
            raise UserError(
                f"operator '{operator_name(one)}' in module '{module_path(one)}' depends on the "
                "picture's size, which an exported file cannot follow; use scale factors instead "
                "of sizes"
            )


def _frozen(node: fx.Node) -> str:
    """Arguments with nodes by name, comparable between two traces."""
    return repr((node.args, sorted(node.kwargs.items())))
