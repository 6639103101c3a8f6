"""What the processes of a run tell each other.

All of them call each function, in one order. In a process that is alone it exchanges nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from gan_slimming.data.ranks.launch import alone, count, is_first, rank
from gan_slimming.errors import UserError, one_line

Value = TypeVar("Value")


class PeerLost(UserError):
    """The end of another process of the run, which ends this one."""


def from_first(make: Callable[[], Value]) -> Value:
    """Return what the first process makes: measured values, clocks, and what it reads from files.

    It travels by pickle, within the run alone.
    """
    if alone():
        return make()
    made: list[Any] = [make() if is_first() else None]
    with _together():
        dist.broadcast_object_list(made, src=0)
    return made[0]


def first_found(found: Value | None) -> Value | None:
    """Return the first process's find that is not None; None if none has one."""
    if alone():
        return found
    told: list[Any] = [None] * count()
    with _together():
        dist.all_gather_object(told, found)
    return next((value for value in told if value is not None), None)


def largest(number: int) -> int:
    """Return the largest of the processes' numbers."""
    if alone():
        return number
    told = torch.tensor(number, device=_device())
    return int(all_reduced(told, dist.ReduceOp.MAX))


def average(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over the processes, in place, in one exchange."""
    if alone() or not tensors:
        return
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    all_reduced(flat)
    _spread(flat.div_(count()), tensors)


def copy_from_first(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by those of the first process, in place; all kinds of numbers."""
    for kind in {tensor.dtype: None for tensor in tensors} if not alone() else ():
        alike = [tensor for tensor in tensors if tensor.dtype == kind]
        flat = torch.cat([tensor.detach().flatten() for tensor in alike])
        with _together():
            dist.broadcast(flat, src=0)
        _spread(flat, alike)


def gathered(values: Tensor) -> Tensor:
    """Return the processes' tensors (n, ...) joined as (processes * n, ...), in their order."""
    if alone():
        return values
    parts = [torch.empty_like(values, memory_format=torch.contiguous_format)] * count()
    parts = [part.clone() for part in parts]
    with _together():
        dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def check_same(content: bytes, what: str) -> None:
    """Raise UserError where the processes do not have the same content.

    Args:
        content: of this process.
        what: it is, for the error.
    """
    if alone():
        return
    digest = hashlib.sha256(content).digest()[:8]
    own = torch.tensor([int.from_bytes(digest, "big", signed=True)], device=_device())
    if others := [n for n, told in enumerate(gathered(own).tolist()) if told != int(own)]:
        raise UserError(
            f"processes {rank()} and {others[0]} of this run have {what}: their machines compute "
            "differently; go on from the last checkpoint with --resume, on machines of one kind"
        )


def all_reduced(values: Tensor, operation: Any = dist.ReduceOp.SUM) -> Tensor:
    """Combine a tensor over the processes, in place, and return it."""
    with _together():
        dist.all_reduce(values, operation)
    return values


def _spread(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Copy one long vector into tensors, in order."""
    pieces = flat.split([tensor.numel() for tensor in tensors])
    with torch.no_grad():
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(piece.view(tensor.shape))


def _device() -> torch.device:
    """Return where tensors lie that the processes exchange."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


@contextmanager
def _together() -> Iterator[None]:
    """Turn a connection that has ended into one line."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise PeerLost(
            f"another process of this run has ended ({one_line(error)[:150]}); go on from the last "
            "checkpoint with --resume"
        ) from error
