"""torch.export of a generator, of inputs of one size or of any."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import SymInt, Tensor, nn
from torch.overrides import TorchFunctionMode

from gan_slimming.errors import UserError

Shapes = Mapping[str, tuple[int, ...]]
"""Name of each input -> its shape."""


def export(
    module: nn.Module, shapes: Shapes, *, symbols: bool = False
) -> torch.export.ExportedProgram:
    """torch.export of a generator of inputs of these shapes.

    Args:
        symbols: for the batch, and the height and width of images.
    """
    inputs = tuple(
        torch.zeros(shape, dtype=torch.int64 if name == "y" else None)
        for name, shape in shapes.items()
    )
    any_size = torch.export.Dim.AUTO
    free = tuple(dict.fromkeys((0, *range(2, len(s))), any_size) for s in shapes.values())
    try:
        with torch.no_grad(), _quiet(), _Countable():
            dims = free if symbols else None
            return torch.export.export(module, inputs, dynamic_shapes=dims, strict=False)
    except Exception as error:  # torch.export raises many kinds; each means the same to a user
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        told = " and ".join("x".join(map(str, shape)) for shape in shapes.values())
        raise UserError(
            f"the generator cannot be traced with an input of {told} ({first}); if it takes only "
            "multiples of so many pixels, its InputContract must say so (multiple_of); else try "
            "another --size"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """torch logs what it cannot solve, and with a traceback what it raises anyway."""
    names = ("torch.fx.experimental.symbolic_shapes", "torch._subclasses.fake_tensor")
    levels = {log: log.level for log in map(logging.getLogger, names)}
    try:
        for log in levels:
            log.setLevel(logging.CRITICAL)
        yield
    finally:
        for log, level in levels.items():
            log.setLevel(level)


class _Countable(TorchFunctionMode):
    """What torch would trace in another way at another size, traced in one.

    torch.linspace takes no symbol for its steps, but torch.arange does. Python's slices leave no
    trace where they happen to take all that there is.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.linspace:
            return _linspace(*args, **(kwargs or {}))
        if func is not Tensor.__getitem__:
            return func(*args, **(kwargs or {}))
        value, index = _sliced(*args)
        rest = [part for part in index if part is not ... and not _is_all(part)]
        return func(value, index) if rest else value


def _linspace(start: Any, end: Any, steps: Any, **how: Any) -> Tensor:
    how.setdefault("dtype", torch.get_default_dtype())
    each = (end - start) / torch.sym_max(steps - 1, 1)
    return torch.arange(steps, **how) * each + start


def _sliced(value: Tensor, index: Any) -> tuple[Tensor, tuple[Any, ...]]:
    """The value with its slices taken, and what is left of the index."""
    parts = list(index) if isinstance(index, tuple) else [index]
    kinds = (int, slice, SymInt, type(None), type(...))
    if not all(isinstance(part, kinds) for part in parts):
        return value, tuple(parts)
    axis, taken = 0, sum(part is not None and part is not ... for part in parts)
    for place, part in enumerate(parts):
        if isinstance(part, slice) and not _is_all(part):
            value = torch.ops.aten.slice(value, axis, part.start, part.stop, part.step or 1)
            parts[place] = slice(None)
        axis += value.dim() - taken if part is ... else int(part is not None)
    return value, tuple(parts)


def _is_all(part: Any) -> bool:
    return isinstance(part, slice) and part == slice(None)
