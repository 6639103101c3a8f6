"""translate, for the items of a user's own dataset instead of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from gan_slimming.config import InputContract
from gan_slimming.data.dataset import Dataset, DatasetItems, check_dataset, length_of
from gan_slimming.data.inputs import Inputs
from gan_slimming.errors import UserError


def translate_dataset(
    dataset: Dataset,
    contract: InputContract,
    output: Path,
    suffixes: Sequence[str],
    make: Callable[[Inputs, Path], None],
    *,
    overwrite: bool,
) -> int:
    """Send each item of a dataset through a generator; write 00000.png and so on.

    Args:
        contract: of the generator.
        output: a folder, created as needed.
        suffixes: endings of the files of a result; the first names it.
        make: (item without the batch axis, file) -> writes its result.
    Returns:
        The number of items.
    Raises:
        UserError: an item does not fit, or results exist without `overwrite`.
    """
    count = length_of(check_dataset(dataset))
    if output.exists() and not output.is_dir():
        raise UserError(f"output {output} is a file; name a folder for the items of a dataset")
    targets = [output / f"{index:05d}{suffixes[0]}" for index in range(count)]
    files = (target.with_suffix(suffix) for target in targets for suffix in suffixes)
    if not overwrite and (present := next((file for file in files if file.exists()), None)):
        raise UserError(
            f"{present} exists already; replace with --overwrite or name another --output"
        )
    items = DatasetItems(dataset, contract, None, torch.arange(count))
    for index, target in enumerate(targets):
        make(items.item(index), target)
    return count
