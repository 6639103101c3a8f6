"""translate, for a generator of waveforms: signals become .wav and .npy files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.destinations import Job
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.padding import run_signal
from gan_slimming.data.signal_folder import read_signal
from gan_slimming.data.waveform_files import write_waveform
from gan_slimming.errors import UserError


@dataclass(frozen=True)
class SignalRunner:
    """A generator that writes waveforms."""

    generator: GeneratorAdapter
    device: torch.device
    """Of the generator."""
    rate: int
    """Samples a second of the .wav files."""

    def write(self, item: Inputs, target: Path) -> None:
        """Write the waveform of a signal (channels, length) and further inputs, and its samples."""
        made = run_signal(self.generator, *(x[None].to(self.device) for x in item))
        write_waveform(target, made[0].cpu().numpy(), self.rate)


def translate_signals(
    runner: SignalRunner, jobs: Sequence[Job], advance: Callable[[], None]
) -> list[dict[str, str]]:
    """Make a waveform of each signal; return {path, reason} of those that failed.

    Args:
        advance: called after each.
    """
    failed = []
    for job in jobs:
        try:
            signal = read_signal(job.source, runner.generator.contract.channels)
            runner.write((torch.from_numpy(np.array(signal, np.float32)),), job.target)
        except UserError as error:
            reason = str(error).removeprefix(f"{job.source} ")
            failed.append({"path": str(job.source), "reason": reason})
        advance()
    return failed
