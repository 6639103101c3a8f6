"""The layers and channel groups of a generator, each with its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from gan_slimming.data.whole_copy import whole_copy
from gan_slimming.metrics.complexity import FUNCTIONAL, Complexity, LayerCost
from gan_slimming.pruning.discovery import find_groups, pad_norms
from gan_slimming.pruning.groups import (
    ChannelGroup,
    GroupGraph,
    describe,
    macs_left,
    parameters_left,
)
from gan_slimming.quantization.fake_quant import ActivationQuantizer, WeightQuantizer
from gan_slimming.student.layers import SLIM, SlimConvolution
from gan_slimming.student.quantizers import drop_quantizers
from gan_slimming.student.student import give_norms_a_scale


def layer_rows(generator: nn.Module, complexity: Complexity) -> list[dict[str, Any]]:
    """Return a row for each module with own parameters, in the order of the module tree."""
    costs = {cost.name: cost for cost in complexity.layers}
    rows = []
    for name, layer in generator.named_modules():
        own = dict(layer.named_parameters(recurse=False))
        if own and not isinstance(layer, WeightQuantizer | ActivationQuantizer):
            rows.append(_layer_row(name, layer, own, costs.get(name)))
    if FUNCTIONAL in costs:
        rest = costs[FUNCTIONAL]
        rows.append(_row(FUNCTIONAL, rest.kind, [], rest, 0, None))
    return rows


def _layer_row(
    name: str, layer: nn.Module, own: Mapping[str, nn.Parameter], cost: LayerCost | None
) -> dict[str, Any]:
    first = own.get("weight", next(iter(own.values())))
    kind = type(layer)
    bits = first.element_size() * 8
    parameters = sum(parameter.numel() for parameter in own.values())
    if kind in SLIM.values():
        kind = kind.__bases__[-1]
    if isinstance(layer, SlimConvolution):
        bits = layer.weight_quantizer.bits if layer.weight_quantizer is not None else bits
    return _row(name, kind.__name__, list(first.shape), cost, parameters, bits)


def _row(
    name: str,
    kind: str,
    shape: list[int],
    cost: LayerCost | None,
    parameters: int,
    bits: int | None,
) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "shape": shape,
        "output": list(cost.output_shape[1:]) if cost is not None else [],
        "macs": cost.macs if cost is not None else 0,
        "parameters": parameters,
        "bits": bits,
    }


def group_rows(
    generator: nn.Module, example: tuple[torch.Tensor, ...], protect: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row for each channel group, with the savings of one channel less.

    Args:
        generator, example, protect: as for `find_groups`; quantisers are left out.
    Raises:
        UserError: channels cannot be followed through an operator.
    """
    plain = _without_quantizers(generator)
    pad_norms(plain, example)
    graph = find_groups(plain, example, protect)
    rows = describe(graph.groups)
    whole = _cost(graph, {})
    for row, group in zip(rows, graph.groups, strict=True):
        fewer = _cost(graph, _one_less(group))
        row["macs_per_channel"] = whole[0] - fewer[0]
        row["parameters_per_channel"] = whole[1] - fewer[1]
    return rows


def _one_less(group: ChannelGroup) -> dict[str, torch.Tensor]:
    mask = torch.ones(group.channels, dtype=torch.bool)
    mask[-1] = False
    return {group.name: mask}


def _cost(graph: GroupGraph, alive: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    return macs_left(graph, alive), parameters_left(graph, alive)


def _without_quantizers(generator: nn.Module) -> nn.Module:
    """Return a copy of standard layers only, with a student's scales, as `prepare` gets it."""
    plain = whole_copy(generator)
    plain.eval()
    give_norms_a_scale(plain)
    drop_quantizers(plain)
    return plain
