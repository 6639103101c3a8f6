"""A user's own map-style dataset, whose items are the inputs of a generator.

An item is what the generator's forward takes, in its own range and without the batch axis: a
tensor, or a tuple or dict of several. It has to follow from its index. Random numbers of torch,
NumPy and Python are seeded by the index while an item is made, so that random crops stay the same,
and so do the teacher's answers that are kept.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import from_contract
from gan_slimming.data.dummy import input_shapes
from gan_slimming.data.holdout import default_holdout, pick_holdout
from gan_slimming.data.inputs import Inputs, downscaled
from gan_slimming.data.own_code import call_factory
from gan_slimming.data.square_images import distinct_images
from gan_slimming.errors import UserError, one_line

DIGESTED = 8
"""Most items by which a dataset is recognised when a run is resumed."""


@runtime_checkable
class Dataset(Protocol):
    """A map-style dataset, such as a torch.utils.data.Dataset with a length."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def load_dataset(name: str) -> Dataset:
    """Return the dataset that package.module:factory makes.

    Raises:
        UserError: it cannot be imported, fails, or makes no dataset.
    """
    return check_dataset(call_factory("dataset", name, {}), f"dataset {name}")


def check_dataset(found: object, called: str = "the dataset") -> Dataset:
    """Return `found`; raise UserError where it lacks a length or items."""
    lacking = [n for n in ("__len__", "__getitem__") if not hasattr(type(found), n)]
    if lacking or isinstance(found, str | bytes | Mapping):
        why = f"has no {lacking[0]}" if lacking else "is none"
        raise UserError(
            f"{called} must be a map-style dataset with __len__ and __getitem__; got "
            f"{type(found).__name__}, which {why}"
        )
    assert isinstance(found, Dataset)
    return found


@dataclass(frozen=True)
class DatasetItems:
    """Some items of a dataset, as a set of inputs."""

    dataset: Dataset
    contract: InputContract
    size: int | None
    """Height and width of the images in pixels; None takes any. Unused for noise."""
    rows: Tensor
    """(count,) int64, the index of each item in the dataset."""

    def __len__(self) -> int:
        return len(self.rows)

    def augmentations(
        self, downscale: int = 1, draws: int = 0, draws_per_answer: int | None = None
    ) -> int:
        """Return 1: whether an item may be mirrored or cropped, its dataset alone knows."""
        return 1

    def distinct(self, downscale: int, draws: int, draws_per_answer: int | None) -> int:
        """Return the number of items of which so many draws are made, as of images."""
        if self.contract.latent_size:
            return len(self)
        return distinct_images(len(self), downscale, draws, draws_per_answer)

    def expect(self, coming: Callable[[int], Tensor]) -> None:
        """Do nothing: an item is made when it is drawn."""

    def name(self, index: int) -> str:
        """Return what an item is called."""
        return f"item {int(self.rows[index])}"

    def batch(
        self, indices: Tensor, augmentations: Tensor | None = None, downscale: int = 1
    ) -> Inputs:
        """Return a batch of items in the form of `data.inputs`; augmentations are not used.

        Raises:
            UserError: an item cannot be made, or is no input of the generator.
        """
        items = [self.item(int(index)) for index in indices]
        columns = [torch.stack(column) for column in zip(*items, strict=True)]
        names = input_shapes(self.contract, 1)
        return tuple(_smaller(n, x, downscale) for n, x in zip(names, columns, strict=True))

    def item(self, index: int) -> Inputs:
        """Return the parts of one item, each as the package has it, without the batch axis."""
        row = int(self.rows[index])
        made = _made(self.dataset, row)
        shapes = {name: shape[1:] for name, shape in input_shapes(self.contract, 1).items()}
        parts = _parts(made, tuple(shapes), row)
        sides = (self.size, self.size) if self.size else _sides(parts[0])
        shapes = {n: shape[1:] for n, shape in input_shapes(self.contract, sides).items()}
        checked = (
            _checked(part, name, shape, row)
            for part, (name, shape) in zip(parts, shapes.items(), strict=True)
        )
        return tuple(
            from_contract(part, self.contract) if name.startswith(("input", "image")) else part
            for part, name in zip(checked, shapes, strict=True)
        )


def open_dataset(
    dataset: Dataset,
    contract: InputContract,
    size: int,
    holdout: int | None,
    copies: Callable[[int], Sequence[int]] = lambda row: [row],
) -> tuple[DatasetItems, DatasetItems]:
    """Split a dataset into a training and a held-out set, by a hash of the indices.

    Args:
        size: height and width of the images in pixels.
        holdout: number of items held out; None for the default.
        copies: an index -> those of all items that stand on the same side, itself included.
    Raises:
        UserError: it is no dataset, is too small, or its first item does not fit or is another
            each time.
    """
    count = length_of(check_dataset(dataset))
    if count < 2:
        raise UserError(f"the dataset has {count} item(s), at least 2 are needed")
    whole = DatasetItems(dataset, contract, size, torch.arange(count))
    pairs = zip(whole.item(0), whole.item(0), strict=True)
    if not all(torch.equal(one, other) for one, other in pairs):
        raise UserError(
            "item 0 of the dataset is another each time; draw random numbers by torch.rand, "
            "random or np.random, which are seeded by the index, or leave them out"
        )
    held = pick_holdout(
        [str(row) for row in range(count)], copies,
        default_holdout(count) if holdout is None else holdout,
    )  # fmt: skip
    rows = ([row for row in range(count) if (row in held) is side] for side in (False, True))
    train, kept = (DatasetItems(dataset, contract, size, torch.tensor(r).long()) for r in rows)
    return train, kept


def length_of(dataset: Dataset) -> int:
    """Return the number of items; raise UserError where a dataset cannot tell it."""
    try:
        return len(dataset)
    except Exception as error:  # the user's code may raise anything
        raise UserError(f"the dataset has no length: {one_line(error)}; mend __len__") from error


def list_items(dataset: Dataset) -> list[dict[str, Any]]:
    """Return rows as of `image_list.list_set`: the number of items, and a digest of some."""
    count = length_of(dataset)
    rows = [{"name": "number of items", "bytes": count, "sha256": _digest(count)}]
    for index in range(0, count, max(1, -(-count // DIGESTED))):
        digest = _digest(_made(dataset, index))
        rows.append({"name": f"item {index}", "bytes": 0, "sha256": digest})
    return [{"set": "data", **row} for row in rows]


def _digest(item: Any) -> str:
    """Return a digest of an item's values, however they are nested."""
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, Mapping):
            part = [value for pair in sorted(part.items(), key=str) for value in pair]
        if isinstance(part, list | tuple):
            for one in part:
                add(one)
        elif isinstance(part, Tensor | np.ndarray):
            array = np.ascontiguousarray(torch.as_tensor(part).detach().cpu().numpy())
            digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
        else:
            digest.update(repr(part).encode())

    add(item)
    return digest.hexdigest()


def _made(dataset: Dataset, row: int) -> Any:
    """Return an item as the dataset makes it."""
    with _seeded(row):
        try:
            return dataset[row]
        except Exception as error:  # the user's code may raise anything
            raise UserError(
                f"item {row} of the dataset cannot be read: {type(error).__name__}: "
                f"{one_line(error)}; mend its __getitem__"
            ) from error


@contextmanager
def _seeded(row: int) -> Iterator[None]:
    """Seed all random numbers by an index, and put them back."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(row)
        random.seed(row)
        np.random.seed(row % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _parts(item: Any, names: tuple[str, ...], row: int) -> tuple[Any, ...]:
    """Return an item's parts in the order of the generator's inputs."""
    wanted = f"the generator takes {', '.join(names)}"
    if isinstance(item, Mapping):
        kinds = [name.partition("_")[0] for name in names]
        keys = [n if n in item else k for n, k in zip(names, kinds, strict=True)]
        if missing := [n for n, key in zip(names, keys, strict=True) if key not in item]:
            has = ", ".join(map(str, item))
            raise UserError(f"item {row} of the dataset has no {missing[0]}, it has {has}")
        return tuple(item[key] for key in keys)
    parts = tuple(item) if isinstance(item, tuple | list) else (item,)
    if len(parts) != len(names):
        raise UserError(
            f"item {row} of the dataset has {len(parts)} part(s), {wanted}; return these alone, in "
            "this order"
        )
    return parts


def _sides(part: Any) -> tuple[int, int]:
    """Return the height and width of an image, 1 and the length of a signal, or 1 and 1."""
    shape = np.shape(part)
    height, width = (1, 1, *shape[1:])[-2:] if len(shape) in (2, 3) else (1, 1)
    return height, width


def _checked(part: Any, name: str, shape: tuple[int, ...], row: int) -> Tensor:
    """Return a part as a tensor of its type; raise UserError where it is none or another shape."""
    where = f"{name} of item {row} of the dataset"
    try:
        found = torch.as_tensor(part).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{where} must be a tensor, got {type(part).__name__}") from error
    if (name in ("input", "z") or name.startswith("image")) and not found.is_floating_point():
        raise UserError(
            f"{where} must be of floating point, in the generator's own range; got "
            f"{str(found.dtype).removeprefix('torch.')}"
        )
    came = tuple(found.shape)
    if came != shape and not (name == "z" and came == shape[:1]):
        size = f", or take another --size than {shape[-1]}" if len(shape) > 1 else ""
        raise UserError(
            f"{where} has the shape {came}, the generator takes {shape}; mend its __getitem__{size}"
        )
    return found.long() if name == "y" or name.startswith("class") else found.float()


def _smaller(name: str, values: Tensor, factor: int) -> Tensor:
    """Downscale images by means; masks by taking every n-th pixel, which keeps their values."""
    if factor == 1 or values.dim() != 4:
        return values
    return (
        values[..., ::factor, ::factor] if name.startswith("mask") else downscaled(values, factor)
    )
