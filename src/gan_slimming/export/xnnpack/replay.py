"""A traced generator as a torch module of the operators that XNNPACK takes, at one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from gan_slimming.export.trace.graph import TracedGenerator, arguments_of
from gan_slimming.export.trace.integers import Codes, OutputCodes, QuantizedLayer
from gan_slimming.export.xnnpack.int8 import Int8Convolution, is_int8, on_grid
from gan_slimming.export.xnnpack.pads import Pads, padded, pads_of
from gan_slimming.graph.nodes import module_path, operator_name, value_of


class Replay(nn.Module):
    """The calls of a generator, one module each, in forms that XNNPACK takes where there are some.

    `steps.N` computes `nodes[N]`. It takes the generator's inputs and returns its images.

    Args:
        traced: traced at one size, with all numbers fixed.
    """

    def __init__(self, traced: TracedGenerator) -> None:
        super().__init__()
        self.sources = list(traced.sources.values())
        self.result = traced.result
        self.float_layers: list[str] = []
        wanted, kept = {traced.result}, []
        for node in reversed(traced.nodes):
            if node in wanted:
                step, reads = self._step(traced, node)
                kept.append((node, step, reads))
                wanted.update(reads)
        kept.reverse()
        self.nodes = [node for node, _, _ in kept]
        self.reads = [reads for _, _, reads in kept]
        self.steps = nn.ModuleList(step for _, step, _ in kept)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the images for the generator's inputs."""
        values: dict[fx.Node, Any] = dict(zip(self.sources, inputs, strict=True))
        for node, step, reads in zip(self.nodes, self.steps, self.reads, strict=True):
            values[node] = step(*(values[read] for read in reads))
        return values[self.result]

    def _step(self, traced: TracedGenerator, node: fx.Node) -> tuple[nn.Module, list[fx.Node]]:
        """Return the module of a call, and the values that it reads."""
        layer = traced.layers.get(module_path(node))
        if layer is not None and is_int8(node, layer):
            return int8_step(traced, node, layer)
        if layer is not None and operator_name(node).startswith(("conv", "linear")):
            self.float_layers.insert(0, module_path(node))
            step = OnGrids(traced, node, layer)
            return step, step.reads
        if (pads := pads_of(node)) is not None:
            return Padding(pads), [arguments_of(node)[_first_name(node)]]
        if _is_plain_instance_norm(node):
            values = arguments_of(node)
            weight, bias = (traced.tensors.get(values[name]) for name in ("weight", "bias"))
            return InstanceNorm(weight, bias, values["eps"]), [values["input"]]
        step = Call(traced, node)
        return step, step.reads


def int8_step(
    traced: TracedGenerator, node: fx.Node, layer: QuantizedLayer, *, alone: bool = False
) -> tuple[Int8Convolution, list[fx.Node]]:
    """Return the module of a layer in int8, and the value that it reads.

    Args:
        alone: leave out the pad in front of it, and keep a bias that has no effect behind it.
    """
    values = arguments_of(node)
    source, bias = values["input"], values["bias"]
    dropped = not alone and node in traced.redundant_biases
    bias = None if dropped else traced.tensors.get(bias)
    pads = pads_of(source) if not alone and source.op == "call_function" else None
    if pads is not None:
        source = arguments_of(source)[_first_name(source)]
    return Int8Convolution(node, layer, bias, pads), [source]


class Call(nn.Module):
    """A call as it was traced, its tensors as buffers.

    Args:
        without: arguments that are left out: None in their place.
    """

    def __init__(
        self, traced: TracedGenerator, node: fx.Node, without: Sequence[fx.Node] = ()
    ) -> None:
        super().__init__()
        self.function: Any = node.target
        known = [n for n in node.all_input_nodes if n in traced.tensors and n not in without]
        self.reads = [n for n in node.all_input_nodes if n not in traced.tensors]
        for place, tensor in enumerate(known):
            self.register_buffer(f"tensor_{place}", torch.from_numpy(traced.tensors[tensor]))
        names = {n: f"tensor_{place}" for place, n in enumerate(known)}
        places = {n: place for place, n in enumerate(self.reads)}
        self.arguments = (node.args, dict(node.kwargs))
        self.places = {n: names.get(n, places.get(n)) for n in node.all_input_nodes}

    def forward(self, *values: Tensor) -> Any:
        """Return what the call returns."""

        def value(node: fx.Node) -> Any:
            place = self.places[node]
            if place is None:
                return None
            return getattr(self, place) if isinstance(place, str) else values[place]

        args, kwargs = fx.map_arg(self.arguments, value)
        return self.function(*args, **kwargs)


class OnGrids(Call):
    """A quantised layer that XNNPACK has not in int8: in float, on the grids of training."""

    step: Tensor
    shift: Tensor | None

    def __init__(self, traced: TracedGenerator, node: fx.Node, layer: QuantizedLayer) -> None:
        bias = arguments_of(node)["bias"]
        super().__init__(traced, node, [bias] if layer.outputs is not None and bias else [])
        self.inputs: Codes | None = layer.inputs
        self.outputs: OutputCodes | None = layer.outputs
        self.register_buffer("shift", None)
        if self.outputs is not None:
            shape = [1, -1] + [1] * (value_of(node).dim() - 2)
            shape = shape if operator_name(node) != "linear" else [-1]
            self.register_buffer("step", torch.from_numpy(self.outputs.scale).view(shape))
            if bias is not None and node not in traced.redundant_biases:
                self.register_buffer("shift", torch.from_numpy(traced.tensors[bias]).view(shape))

    def forward(self, *values: Tensor) -> Tensor:
        """Return q_o(W * q_a(x)) + b."""
        first, *others = values
        if self.inputs is not None:
            first = on_grid(first, self.inputs)
        sums = super().forward(first, *others)
        if self.outputs is None:
            return sums
        codes = Codes(1.0, self.outputs.low, self.outputs.high)
        sums = on_grid(sums / self.step, codes) * self.step
        return sums if self.shift is None else sums + self.shift


class Padding(nn.Module):
    """A pad that copies pixels."""

    def __init__(self, pads: Pads) -> None:
        super().__init__()
        self.pads = pads

    def forward(self, values: Tensor) -> Tensor:
        """Return the padded values."""
        return padded(values, self.pads)


class InstanceNorm(nn.Module):
    """An instance norm as means and squares: XNNPACK has no norm of an image's own statistics."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, weight: np.ndarray | None, bias: np.ndarray | None, eps: float) -> None:
        super().__init__()
        self.eps = eps
        for name, array in (("weight", weight), ("bias", bias)):
            tensor = None if array is None else torch.from_numpy(array).view(1, -1, 1, 1)
            self.register_buffer(name, tensor)

    def forward(self, values: Tensor) -> Tensor:
        """Return weight * (x - mean) / sqrt(variance + eps) + bias."""
        values = values - values.mean((2, 3), keepdim=True)
        scale = torch.rsqrt((values * values).mean((2, 3), keepdim=True) + self.eps)
        values = values * (scale if self.weight is None else scale * self.weight)
        return values if self.bias is None else values + self.bias


def _is_plain_instance_norm(node: fx.Node) -> bool:
    if operator_name(node) != "instance_norm" or value_of(node).dim() != 4:
        return False
    return bool(arguments_of(node)["use_input_stats"])


def _first_name(node: fx.Node) -> str:
    """Return the name of a call's first argument."""
    schema: Any = getattr(node.target, "_schema", None)
    return schema.arguments[0].name
