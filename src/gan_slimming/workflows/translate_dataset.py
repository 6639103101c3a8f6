"""translate, for the items of a user's own dataset instead of files."""

from __future__ import annotations

from pathlib import Path

import torch

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.dataset import Dataset, DatasetItems, check_dataset, length_of
from gan_slimming.data.image_files import write_image
from gan_slimming.data.padding import run_padded
from gan_slimming.errors import UserError


def translate_dataset(
    generator: GeneratorAdapter,
    device: torch.device,
    dataset: Dataset,
    output: Path,
    *,
    overwrite: bool,
) -> int:
    """Send each item of a dataset through a generator; write 00000.png and so on.

    Args:
        device: of the generator.
        output: a folder, created as needed.
    Returns:
        The number of items.
    Raises:
        UserError: an item does not fit, or results exist without `overwrite`.
    """
    count = length_of(check_dataset(dataset))
    if output.exists() and not output.is_dir():
        raise UserError(f"output {output} is a file; name a folder for the items of a dataset")
    targets = [output / f"{index:05d}.png" for index in range(count)]
    if not overwrite and (present := next((t for t in targets if t.exists()), None)):
        raise UserError(
            f"{present} exists already; replace with --overwrite or name another --output"
        )
    items = DatasetItems(dataset, generator.contract, None, torch.arange(count))
    for index, target in enumerate(targets):
        image, *others = (x[None].to(device) for x in items.item(index))
        write_image(target, run_padded(generator, image, *others)[0].cpu())
    return count
