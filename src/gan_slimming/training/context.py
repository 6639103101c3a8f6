"""What a training works with besides its settings: teacher, inputs, judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import GeneratorAdapter, to_inputs
from gan_slimming.data.folder import ImageSet
from gan_slimming.data.inputs import Generate, Inputs, InputSet
from gan_slimming.data.sampler import Sampler
from gan_slimming.losses.objective import Distance

Track = Callable[[Generate], dict[str, float]]
"""Measures a generator on held-out inputs."""


@dataclass
class TrainingContext:
    """All that stays as it is while the student trains."""

    teacher: GeneratorAdapter
    """The dense generator, frozen, in evaluation mode."""
    inputs: InputSet
    """What training draws from."""
    targets: ImageSet | None
    """Real images of the teacher's output domain; None where the teacher's outputs stand in."""
    distance: Distance
    """The distillation term."""
    track: Track
    side: int
    """Height and width in pixels of the generator's output."""
    on_step: Callable[[int, dict[str, float]], None] = lambda step, terms: None
    """Called after every step with its number, from 1, and its terms."""
    same_channels: bool = True
    """Whether the student began as the teacher's copy, so that their channels can be compared."""
    discriminator: nn.Module | None = None
    """The user's discriminator; None for a fresh PatchGAN."""

    @property
    def contract(self) -> InputContract:
        """The convention that teacher and student share."""
        return self.teacher.contract

    def adapt(self, generator: nn.Module) -> GeneratorAdapter:
        """Return a generator behind the border of the teacher's convention."""
        return GeneratorAdapter(generator, self.contract)

    def takes(self, side: int) -> bool:
        """Return whether the generator takes images of this many pixels a side."""
        return not self.contract.latent_size and self.contract.takes(side)

    def sampler(self, batch_size: int, seed: int, distinct: int | None = None) -> Sampler:
        """Return an order in which the inputs are drawn, all or so many `distinct` ones."""
        return Sampler(len(self.inputs), batch_size, seed, distinct)

    def batches(
        self, count: int, seed: int, batch_size: int, device: torch.device
    ) -> Iterator[Inputs]:
        """Yield `count` batches of training inputs as the generator's forward takes them."""
        sampler = self.sampler(batch_size, seed)
        for _ in range(count):
            batch = self.inputs.batch(*sampler.next(self.inputs.augmentations()))
            yield to_inputs(tuple(x.to(device) for x in batch), self.contract)
