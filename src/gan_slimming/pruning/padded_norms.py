"""Norms over channels that users write by hand, after some of the channels have been cut.

PixelNorm, LIN, AdaLIN, RMSNorm and others take a mean over all C0 channels of the teacher, or a
variance, in some way of their own. A channel that is zero at such a norm's input still counts in
it. The norm that is left therefore puts zeros where channels were cut, computes what it always did
over C0 channels, and hands out those that are kept: exact for any arithmetic, and its own
parameters stay whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from gan_slimming.graph.nodes import operator_name, value_of
from gan_slimming.pruning.propagation import LAYERS, Propagation
from gan_slimming.pruning.values import Factor, Value, tied_along

KEPT = "kept_channels"
"""Buffer of a padded norm: (channels left,) int64, their places among the teacher's."""
MAX_CHANNELS = 1 << 20
"""Channels of a norm at most; beyond, a damaged file would ask for all memory."""
WRITES = "a norm over all channels writes it"


def pad_norm(layer: nn.Module, channels: int) -> None:
    """Let a user's norm of `channels` channels take fewer of them from now on, in place.

    Its class becomes a subclass of the user's, with a buffer of the channels that are left.
    """
    if is_padded(layer):  # shared, under another name
        return
    base = type(layer)
    layer.register_buffer(KEPT, torch.arange(channels))
    layer.__class__ = type(base.__name__, (base,), {
        "__module__": base.__module__, "forward": _forward_of(base), "whole_channels": channels,
    })  # fmt: skip


def is_padded(layer: object) -> bool:
    """Return whether a norm can take fewer channels than its teacher's."""
    return hasattr(type(layer), "whole_channels") and hasattr(layer, KEPT)


def padded_norms(module: nn.Module) -> dict[str, int]:
    """Return path -> the teacher's channels, of every padded norm."""
    found = module.named_modules(remove_duplicate=False)
    return {path: type(m).whole_channels for path, m in found if is_padded(m)}  # pyright: ignore


def restore_norms(module: nn.Module, record: Mapping[str, int]) -> None:
    """Pad the norms that a file names, in a module fresh from its factory.

    Raises:
        AttributeError, ValueError: file and module do not belong together.
    """
    for path, channels in record.items():
        if type(channels) is not int or not 0 < channels <= MAX_CHANNELS:
            raise ValueError(f"{path} has {channels} channels")
        pad_norm(module.get_submodule(path), channels)


def check_norms(module: nn.Module) -> None:
    """Raise ValueError where the kept channels from a file are not some of the teacher's."""
    for path, whole in padded_norms(module).items():
        kept = module.get_submodule(path).get_buffer(KEPT)
        rising = kept.dim() == 1 and kept.dtype == torch.int64 and bool((kept.diff() > 0).all())
        if not rising or not len(kept) or int(kept[0]) < 0 or int(kept[-1]) >= whole:
            raise ValueError(f"{path}.{KEPT} are not channels of {whole}")


def _forward_of(base: Any) -> Any:
    def forward(layer: Any, *inputs: Any, **named: Any) -> Any:
        kept, whole = layer.kept_channels, type(layer).whole_channels
        if len(kept) == whole or not inputs:
            return base.forward(layer, *inputs, **named)
        # The map comes first, in any norm that the verified cut lets pass.
        wide = _spread(inputs[0], kept, whole)
        return base.forward(layer, wide, *inputs[1:], **named).index_select(1, kept)

    return forward


def _spread(values: Tensor, kept: Tensor, whole: int) -> Tensor:
    """Return (batch, whole, ...), with zeros in the channels that are not kept."""
    places = torch.arange(whole, device=kept.device)
    order = torch.searchsorted(kept, places).clamp(max=len(kept) - 1)
    source = torch.where(kept.index_select(0, order) == places, order, len(kept))
    padded = torch.cat([values, torch.zeros_like(values[:, :1])], 1)
    return padded.index_select(1, source)


def find_norms(walk: Propagation) -> dict[str, int]:
    """Return path -> channels, of the user's norms that can be padded, after a walk.

    Such a module has no layers inside, takes one feature map, and returns one of the same shape.
    """
    found = {}
    for path in walk.mixed:
        layer = walk.module.get_submodule(path)
        if not path or type(layer).__module__.startswith("torch.") or is_padded(layer):
            continue
        calls = [node for node in walk.graph.nodes if _inside(walk, node, path)]
        exits = [node for node in calls if any(u not in calls for u in node.users)]
        maps = [_main(walk, node, path) for node in exits]
        widths = {value_of(node).shape[1] for node in exits if isinstance(_made(node), Tensor)}
        plain = not any(operator_name(node) in LAYERS for node in calls)
        if plain and all(m is not None for m in maps) and len(widths) == 1:
            found[path] = widths.pop()
    return found


def padded_call(walk: Propagation, node: fx.Node, path: str) -> Value:
    """Return the value of a call inside of a padded norm: its last call hands out the channels.

    They must be zero at the norm's input once they are dead, and are never zero behind it.
    """
    if all(_inside(walk, user, path) for user in node.users):
        return Value(fixed="a norm over all channels makes it")
    main = _main(walk, node, path)
    for source in _sources(walk, node, path):
        if source is not main and walk.tensors.get(source.name, "").rpartition(".")[2] != KEPT:
            walk.keep_whole(source, "a norm over all channels takes it")
    if main is None:
        return Value(fixed=WRITES)
    factors, value = [], walk.value(main)
    slots = walk.axes.setdefault((f"{path}.{KEPT}", 0), walk.forest.fresh(value_of(main).shape[1]))
    for factor in value.factors:
        inside = [axis for axis in factor.varies if axis > 1]
        factor = tied_along(factor, inside, walk.forest, walk.zeros)
        if factor.varies != [1]:
            walk.protect(factor.slots, "a norm over all channels reads it")
            continue
        walk.read(factor)
        walk.join(slots, factor.slots.ravel())
        factors.append(Factor(factor.slots, factor.zero * 0 + walk.zeros.never(WRITES)))
    if not factors:  # nor can another call of the norm lose channels
        walk.protect(slots, "a norm over all channels reads it")
    return Value(tuple(factors), value.fixed)


def _made(node: fx.Node) -> Any:
    return node.meta.get("val")


def _inside(walk: Propagation, node: fx.Node, path: str) -> bool:
    return node.op == "call_function" and (walk.path(node) + ".").startswith(path + ".")


def _sources(walk: Propagation, node: fx.Node, path: str) -> Iterator[fx.Node]:
    """Yield what a call reads from outside of its module, directly or through calls inside."""
    waiting, seen = [node], {node}
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source in seen:
                continue
            seen.add(source)
            if _inside(walk, source, path):
                waiting.append(source)
            else:
                yield source


def _main(walk: Propagation, node: fx.Node, path: str) -> fx.Node | None:
    """Return the one feature map that a module's result is made of, None where there is no one."""
    made = _made(node)
    if not isinstance(made, Tensor) or made.dim() < 3:
        return None
    maps = [
        source
        for source in _sources(walk, node, path)
        if source.name not in walk.tensors and isinstance(_made(source), Tensor)
        and value_of(source).shape == made.shape
    ]  # fmt: skip
    return maps[0] if len(maps) == 1 else None
