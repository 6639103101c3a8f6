"""Torch-Pruning as an independent judge of channel groups, where it follows the operators."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable

import pytest
import torch
from tests.property import test_extraction
from tests.property.foreign_nets import NETS, inputs_of
from tests.tiny_nets import SHALLOW, example
from torch import Tensor, nn

from gan_slimming.models.registry import build_generator, registered, spec_of
from gan_slimming.pruning.discovery import find_groups
from gan_slimming.pruning.groups import GATE, GroupGraph

tp = pytest.importorskip("torch_pruning", reason="torch-pruning is not installed")

WEIGHTED = nn.Conv2d, nn.ConvTranspose2d, nn.Linear
Channel = frozenset[tuple[str, str, int]]
"""The places (layer, 'in' or 'out', index) that live or die together."""

SETS = "it cuts single channels out of sets that a norm or a grouped convolution takes whole"
RESHAPED = "it follows no pixel shuffle, GLU, or view that moves channels"
PRODUCTS = "it ties the factors of a matrix product to its result"
BROADCAST = "it ties a map of one channel to each channel that it is multiplied by"
SHARED = "it does not see that two operators share a parameter"
PARAMETERS = "it follows no parameter outside the layers of torch that it knows"
DIFFERENT: dict[str, tuple[str, tuple[str, ...]]] = {
    "srgan": (RESHAPED, ("block4", "block5")),
    "masked": (BROADCAST, ("left", "mask")),
    "super_resolution": (RESHAPED, ("3",)),
    "grouped": (SETS, ("0", "2", "5")),
    "viewed_adain": (RESHAPED, ("first",)),
    "self_attention": (PRODUCTS, ("query", "project")),
    "tokens": (PRODUCTS, ("q", "o")),
    "fused_attention": (PRODUCTS, ("q", "o")),
    "esrgan of a user": (RESHAPED, ("4",)),
    "norm_groups": (SETS, ("0", "3", "4")),
    "not_thinned": (PARAMETERS, ("layers.2",)),
    "tied_weights": (SHARED, ("first", "one", "two")),
    "tied_transpose": (SHARED, ("body", "norm")),
    "style_gan": (PARAMETERS, ("one.style", "two.style")),
    "shuffled": (RESHAPED, ("first", "group", "depth")),
    "unshuffled": (RESHAPED, ("first", "second")),
    "many_ends": (BROADCAST, ("image", "mask")),
    "gated": (RESHAPED, ("first", "second")),
    "channels_last": (RESHAPED, ("first",)),
    "counted": (PARAMETERS, ("first", "body")),
    "assigned": (RESHAPED, ("style",)),
    "sliced_weight": (PARAMETERS, ("high", "body")),
}
"""Net -> Torch-Pruning's mistake, and the modules whose channels it ties otherwise.

For each of these nets, extraction by our groups is exact (test_foreign_nets, test_extraction).
"""
UNREADABLE = "multi_head", "equalized"
"""Nets that Torch-Pruning cannot trace, or of which it finds no layer."""


def theirs(module: nn.Module, inputs: tuple[Tensor, ...]) -> set[Channel]:
    """Torch-Pruning's channels: what goes with each output channel of each layer."""
    names = {layer: name for name, layer in module.named_modules()}
    graph = tp.DependencyGraph().build_dependency(module, inputs, verbose=False)
    found: set[Channel] = set()
    seen: set[tuple[str, str, int]] = set()
    for layer in (m for m in module.modules() if isinstance(m, WEIGHTED)):
        cut = graph.get_pruner_of_module(layer).prune_out_channels
        for index in range(graph.get_out_channels(layer)):
            if (names[layer], "out", index) in seen:
                continue
            places = set()
            for step, indices in graph.get_pruning_group(layer, cut, [index]):
                target, path = step.target.module, names.get(step.target.module)
                if path is not None and _has_channels(target):
                    out = graph.is_out_channel_pruning_fn(step.handler) or not _two_sided(target)
                    places |= {(path, "out" if out else "in", int(i)) for i in indices}
            found.add(frozenset(places))
            seen |= places
    return found


def ours(module: nn.Module, inputs: tuple[Tensor, ...]) -> set[Channel]:
    """Our channels, as far as Torch-Pruning starts from them: with an output of a layer."""
    return set(_channels(find_groups(module, inputs), module))


def _channels(graph: GroupGraph, module: nn.Module) -> Iterable[Channel]:
    for group in graph.groups:
        found: dict[int, set[tuple[str, str, int]]] = defaultdict(set)
        for member in (*group.members, *group.gated):
            path, _, attribute = member.tensor.rpartition(".")
            if attribute not in ("weight", GATE[1:]) or "@" in path:
                continue
            layer = module.get_submodule(path)
            if not _has_channels(layer):
                continue
            first = "in" if isinstance(layer, nn.ConvTranspose2d) else "out"
            second = "out" if first == "in" else "in"
            both = _two_sided(layer) and attribute == "weight"
            side = (first, second)[member.axis] if both else "out"
            for index, channel in zip(
                member.positions.tolist(), member.channels.tolist(), strict=True
            ):
                found[channel].add((path, side, index))
        for places in found.values():
            if any(side == "out" and _is_weighted(module, path) for path, side, _ in places):
                yield frozenset(places)


def _is_weighted(module: nn.Module, path: str) -> bool:
    return isinstance(module.get_submodule(path), WEIGHTED)


def _has_channels(layer: nn.Module) -> bool:
    """Whether it holds a number for each channel: norms without scales and one slope do not."""
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.numel() > 1


def _two_sided(layer: nn.Module) -> bool:
    """Whether its inputs may die without its outputs."""
    return isinstance(layer, WEIGHTED) and not 1 < getattr(layer, "groups", 1) == getattr(
        layer, "in_channels", 0
    )


def assert_same(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    mistake, modules = DIFFERENT.get(name, ("", ()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sides = theirs(module, inputs), ours(module, inputs)
    assert (sides[0] != sides[1]) == bool(mistake), f"no longer true: {mistake}"
    left, right = ({c for c in side if not _touches(c, modules)} for side in sides)
    assert left == right
    assert left


def _touches(channel: Channel, modules: tuple[str, ...]) -> bool:
    return any(f"{path}.".startswith(f"{m}.") for path, _, _ in channel for m in modules)


@pytest.mark.parametrize("name", registered())
def test_registered_generators_have_torch_prunings_groups(name: str) -> None:
    module = build_generator(name, width=4, **SHALLOW.get(name, {})).eval()
    assert_same(name, module, (example(spec_of(module).contract),))


@pytest.mark.parametrize("name", sorted(NETS.keys() - set(UNREADABLE)))
def test_foreign_nets_have_torch_prunings_groups(name: str) -> None:
    module = NETS[name].build().double().eval()
    label = "esrgan of a user" if name == "esrgan" else name
    assert_same(label, module, inputs_of(NETS[name].takes, 16))


@pytest.mark.parametrize("name", sorted(test_extraction.NETS))
def test_other_nets_have_torch_prunings_groups(name: str) -> None:
    assert_same(name, test_extraction.build(name), (test_extraction.image(16),))


def test_a_group_too_few_is_found() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))
    inputs = (torch.zeros(1, 3, 8, 8),)
    assert ours(module, inputs) == theirs(module, inputs)
    assert frozenset({("0", "out", 1), ("1", "out", 1), ("2", "in", 1)}) in ours(module, inputs)
    broken = nn.Sequential(module[0], nn.GroupNorm(2, 4), module[2])
    assert ours(broken, inputs) != theirs(broken, inputs)
