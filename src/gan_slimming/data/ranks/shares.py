"""The share of each process in a step's batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gan_slimming.data.ranks.collectives import gathered
from gan_slimming.data.ranks.launch import alone, count, rank


def own_places(indices: Tensor, total: int) -> Tensor:
    """Return the places in a batch that are this process's share, all of them if it is alone.

    An index has a home, the process that has the teacher's answer to it. What exceeds the share of
    its home goes where there is room.

    Args:
        indices: (batch,) int64 below `total`; the batch is a multiple of the number of processes.
    Returns:
        (batch / processes,) int64
    """
    if alone():
        return torch.arange(len(indices))
    share = len(indices) // count()
    homes, order = (indices * count() // total).sort(stable=True)
    fits = torch.arange(len(indices)) - torch.searchsorted(homes, homes) < share
    room = share - torch.bincount(homes[fits], minlength=count())
    start = int(room[: rank()].sum())
    extra = order[~fits][start : start + int(room[rank()])]
    return torch.cat([order[fits & (homes == rank())], extra])


def own_draws(
    coming: Callable[[int], Tensor], batch_size: int, total: int
) -> Callable[[int], Tensor]:
    """Return what gives the next indices of this process's share.

    Args:
        coming: a number -> the next indices of the whole order, below `total`.
        batch_size: of a step.
    """
    if alone():
        return coming

    def own(number: int) -> Tensor:
        batches = -(-number * count() // batch_size)
        rows = coming(batches * batch_size).view(batches, batch_size)
        return torch.cat([row[own_places(row, total)] for row in rows])[:number]

    return own


def in_order(values: Tensor, places: Tensor) -> Tensor:
    """Return a step's whole batch, in the order of its draws, from all processes' shares.

    Args:
        values: (batch / processes, ...), this process's share.
        places: of the share in the batch.
    """
    if alone():
        return values
    order = gathered(places.to(values.device))
    return gathered(values)[order.argsort()]
