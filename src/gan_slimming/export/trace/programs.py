"""Traces of a generator by torch.export, for inputs of one size or of any."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import SymInt, Tensor, nn
from torch.overrides import TorchFunctionMode

from gan_slimming.errors import UserError
from gan_slimming.graph.contexts import TracedWrites, inline_contexts, keeping_features

Shapes = Mapping[str, tuple[int, ...]]
"""Name of each input -> its shape."""


def export(
    module: nn.Module, shapes: Shapes, *, symbols: bool = False
) -> torch.export.ExportedProgram:
    """Trace a generator by torch.export, with inputs of these shapes.

    Args:
        symbols: take symbols for the batch, and for the height and width of images.
    """
    inputs = tuple(
        torch.zeros(shape, dtype=torch.int64 if name == "y" or name.startswith("class") else None)
        for name, shape in shapes.items()
    )
    any_size = torch.export.Dim.AUTO
    free = tuple(dict.fromkeys((0, *range(2, len(s))), any_size) for s in shapes.values())
    try:
        with torch.no_grad(), _quiet(), _Countable():
            dims = _as_passed(module, free) if symbols else None
            with TracedWrites(), keeping_features(module):
                program = torch.export.export(module, inputs, dynamic_shapes=dims, strict=False)
            inline_contexts(program.graph_module)
            return program
    except Exception as error:  # torch.export raises many types; each means the same to a user
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        sizes = " and ".join("x".join(map(str, shape)) for shape in shapes.values())
        raise UserError(
            f"the generator cannot be traced with an input of {sizes} ({first}); if it takes only "
            "multiples of so many pixels, its InputContract must say so (multiple_of); else try "
            "another --size"
        ) from error


def _as_passed(module: nn.Module, free: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return one entry for each argument of the forward; those of *inputs share a tuple."""
    kinds = [p.kind for p in inspect.signature(module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return free
    named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    return (*free[:named], free[named:]) if free[named:] else free


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's logs of unsolved symbols, and of errors that it raises anyway."""
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
    """A mode in which torch traces the same calls at every size.

    torch.linspace takes no symbol for its steps, but torch.arange does. Python's slices leave no
    trace where they happen to cover the whole axis.
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
    """Return the value with its slices taken, and the rest of the index."""
    entries = list(index) if isinstance(index, tuple) else [index]
    kinds = (int, slice, SymInt, type(None), type(...))
    if not all(isinstance(entry, kinds) for entry in entries):
        return value, tuple(entries)
    axis, taken = 0, sum(entry is not None and entry is not ... for entry in entries)
    for place, entry in enumerate(entries):
        if isinstance(entry, slice) and not _is_all(entry):
            value = torch.ops.aten.slice(value, axis, entry.start, entry.stop, entry.step or 1)
            entries[place] = slice(None)
        axis += value.dim() - taken if entry is ... else int(entry is not None)
    return value, tuple(entries)


def _is_all(part: Any) -> bool:
    return isinstance(part, slice) and part == slice(None)
