"""What a training works with besides its settings: teacher, inputs, judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import GeneratorAdapter, to_inputs
from gan_slimming.data.inputs import Generate, Inputs, InputSet
from gan_slimming.data.ranks.shares import own_places
from gan_slimming.data.sampler import Sampler
from gan_slimming.data.square_images import SquareImages
from gan_slimming.graph.contexts import SharedNoise
from gan_slimming.losses.objective import Distance
from gan_slimming.training.trials import takes_side

MIN_HALF_SIDE = 64
"""Least side in pixels of a downscaled image: a discriminator's patch needs room."""
Track = Callable[[Generate], dict[str, float]]
"""Measures a generator on held-out inputs."""


@dataclass
class TrainingContext:
    """All that stays as it is while the student trains."""

    teacher: GeneratorAdapter
    """The dense generator, frozen, in evaluation mode."""
    inputs: InputSet
    """What training draws from."""
    targets: SquareImages | None
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
    noisy: bool = False
    """Whether the generators draw noise inside, which is then the same for teacher and student."""
    channels_last: bool = True
    """Whether the generators take images with channels last, which is faster."""
    discriminator: nn.Module | None = None
    """The user's discriminator; None for a fresh PatchGAN."""
    resume_command: str | None = None
    """The command that goes on with a stopped run; None for the plain one."""
    answers_folder: Path | None = None
    """Folder for the teacher's answers, where they are kept on disk."""
    judge: Track | None = None
    """Measures a generator on all held-out inputs, by the metric of the run's target, too."""
    positions: Sequence[float] = ()
    """Progress of the run by the clock that is repeated, after each of its steps."""

    _sides: dict[int, bool] = field(default_factory=dict, init=False, repr=False)

    @property
    def contract(self) -> InputContract:
        """The convention that teacher and student share."""
        return self.teacher.contract

    def adapt(self, generator: nn.Module) -> GeneratorAdapter:
        """Return a generator behind the border of the teacher's convention."""
        return GeneratorAdapter(generator, self.contract)

    def noise(self, seeds: Sequence[int]) -> AbstractContextManager[object]:
        """Return the context in which generators draw the noise of inputs with these seeds."""
        return SharedNoise(seeds) if self.noisy else nullcontext()

    def judged(self, generator: nn.Module) -> dict[str, float]:
        """Measure a generator in the teacher's convention by `judge`."""
        assert self.judge is not None
        return self.judge(self.adapt(generator))

    def halves(self, size: int) -> bool:
        """Return whether steps at half of a size in pixels are possible."""
        return size % 2 == 0 and size // 2 >= MIN_HALF_SIDE and self.takes(size // 2)

    def takes(self, side: int) -> bool:
        """Return whether the generator takes images of this many pixels a side, by one run."""
        if side not in self._sides:
            one_size = self.contract.latent_size > 0 or self.contract.signal
            fits = not one_size and self.contract.takes(side)
            self._sides[side] = fits and takes_side(self.teacher.generator, self.contract, side)
        return self._sides[side]

    def sampler(self, batch_size: int, seed: int, distinct: int | None = None) -> Sampler:
        """Return an order in which the inputs are drawn, all or so many `distinct` ones."""
        return Sampler(len(self.inputs), batch_size, seed, distinct)

    def batches(
        self, count: int, seed: int, batch_size: int, device: torch.device, *, own: bool = False
    ) -> Iterator[Inputs]:
        """Yield `count` batches of training inputs as the generator's forward takes them.

        Args:
            own: whether to yield this process's share of each alone.
        """
        sampler = self.sampler(batch_size, seed)
        for _ in range(count):
            indices, chosen = sampler.next(self.inputs.augmentations())
            places = own_places(indices, len(self.inputs)) if own else torch.arange(batch_size)
            batch = self.inputs.batch(indices[places], chosen[places])
            yield to_inputs(tuple(x.to(device) for x in batch), self.contract)
