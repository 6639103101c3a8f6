"""translate, for a generator of waveforms: signals become .wav and .npy files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.dataset import Dataset, DatasetItems, check_dataset, length_of
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.padding import run_signal
from gan_slimming.data.signal_folder import read_signal
from gan_slimming.data.waveform_files import Waveform, write_waveform
from gan_slimming.errors import UserError


def translate_signals(
    generator: GeneratorAdapter,
    device: torch.device,
    planned: Sequence[Waveform],
    rate: int,
    advance: Callable[[], None],
) -> list[dict[str, str]]:
    """Make a waveform of each signal; return {path, reason} of those that failed.

    Args:
        device: of the generator.
        rate: samples a second of the .wav files.
        advance: called after each.
    """
    failed = []
    for target in planned:
        try:
            signal = np.array(read_signal(target.source, generator.contract.channels), np.float32)
            _make(generator, device, (torch.from_numpy(signal),), target, rate)
        except UserError as error:
            reason = str(error).removeprefix(f"{target.source} ")
            failed.append({"path": str(target.source), "reason": reason})
        advance()
    return failed


def translate_items(
    generator: GeneratorAdapter,
    device: torch.device,
    dataset: Dataset,
    output: Path,
    rate: int,
    *,
    overwrite: bool,
) -> int:
    """Make a waveform of each item of a dataset, 00000.wav and so on; return their number.

    Raises:
        UserError: an item does not fit, or results exist without `overwrite`.
    """
    count = length_of(check_dataset(dataset))
    if output.exists() and not output.is_dir():
        raise UserError(f"output {output} is a file; name a folder for the items of a dataset")
    targets = [Waveform(output, output / f"{index:05d}.wav") for index in range(count)]
    files = [path for target in targets for path in (target.wav, target.samples)]
    if not overwrite and (present := next((f for f in files if f.exists()), None)):
        raise UserError(
            f"{present} exists already; replace with --overwrite or name another --output"
        )
    items = DatasetItems(dataset, generator.contract, None, torch.arange(count))
    for index, target in enumerate(targets):
        _make(generator, device, items.item(index), target, rate)
    return count


def _make(
    generator: GeneratorAdapter, device: torch.device, item: Inputs, target: Waveform, rate: int
) -> None:
    samples = run_signal(generator, *(x[None].to(device) for x in item))
    write_waveform(target, samples[0].cpu().numpy(), rate)
