"""The discriminator in training: its network, replay buffer and optimiser."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from gan_slimming.config import Run
from gan_slimming.data.ranks.collectives import average
from gan_slimming.data.ranks.shared_statistics import sharing_statistics
from gan_slimming.data.ranks.shares import in_order, own_draws, own_places
from gan_slimming.data.sampler import Sampler
from gan_slimming.data.square_images import SquareImages
from gan_slimming.errors import UserError, one_line
from gan_slimming.losses.adversarial import ReplayBuffer
from gan_slimming.losses.objective import discriminator_objective
from gan_slimming.models.patchgan import PatchDiscriminator
from gan_slimming.quantization.dynamic import quantize_layers
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.divergence import read_terms

PATCHGAN_LAYERS = 3
"""Strided layers of the PatchGAN; fewer on images below 32 pixels."""


class DiscriminatorTrainer:
    """A discriminator that learns to tell real images from the student's.

    The real images are the targets, or the teacher's outputs where there are none.

    Args:
        targets: real images; None where the teacher's outputs are the real ones.
        sides: heights and widths in pixels of the images that it will see.
        given: a discriminator of the user's, copied: (batch, 3, height, width) RGB in [-1, 1] to
            logits of any shape. None makes a PatchGAN with fresh weights.
    Raises:
        UserError: it cannot take images of these sizes.
    """

    def __init__(
        self,
        fabric: Fabric,
        run: Run,
        targets: SquareImages | None,
        *,
        sides: tuple[int, ...],
        given: nn.Module | None = None,
        batch_size: int = 2,
    ):
        s = run.optimisation
        self.fabric, self.objective, self.targets = fabric, run.objective, targets
        if given is None:
            network = patchgan(s.discriminator_width, min(sides), run.seed)
        else:
            network = copy.deepcopy(given).float().requires_grad_(True)
            _try(network, sides)
        if s.discriminator_bits is not None:
            quantize_layers(network, s.discriminator_bits)
        self.network: nn.Module = network.to(fabric.device)
        self.network.train()
        self.replay = ReplayBuffer(s.replay, torch.Generator().manual_seed(run.seed + 1))
        self.sampler = None
        if targets is not None:
            self.sampler = Sampler(len(targets), batch_size, run.seed + 2)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=s.discriminator_lr, betas=s.betas
        )

    def frozen(self) -> nn.Module:
        """Return the network as the student's loss sees it: gradients pass, none are kept."""
        return self.network.requires_grad_(False)

    def step(
        self,
        teacher: Tensor,
        fake: Tensor,
        downscale: int,
        augmentations: int,
        *,
        places: Tensor | None = None,
        parts: int = 1,
    ) -> float:
        """Take one step on real images against the student's, new and replayed; return its loss.

        Args:
            teacher, fake: (batch, 3, side, side) RGB in [-1, 1], without gradient.
            downscale: factor by which target images are made smaller.
            augmentations: number of augmentations of each, as for the student's inputs.
            places: (batch,) int64, of this process's images in the step's batch; None for all.
            parts: number of parts in which the images are computed.
        """
        real = teacher
        if self.sampler is not None and self.targets is not None:
            real = self._drawn(self.targets, self.sampler, augmentations, downscale).to(fake.device)
        if places is None:
            fake = self.replay.exchange(fake)
        else:  # one buffer for all processes, so that their number does not matter
            fake = self.replay.exchange(in_order(fake, places))[places.to(fake.device)]
        self.network.requires_grad_(True)
        loss = fake.new_zeros((), dtype=torch.float32)
        for one, other in zip(real.chunk(parts), fake.chunk(parts), strict=True):
            with sharing_statistics(), self.fabric.autocast():
                term = discriminator_objective(self.objective, self.network, one, other) / parts
            self.fabric.backward(term)
            loss = loss + term.detach()
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        average([*gradients, loss])
        told, finite = read_terms({"loss": loss}, self.network.parameters())
        if finite:  # a step that is not would end the game for good
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return told["loss"]

    @staticmethod
    def _drawn(
        targets: SquareImages, sampler: Sampler, augmentations: int, downscale: int
    ) -> Tensor:
        """Return this process's share of the step's real images, and let the next be read."""
        indices, chosen = sampler.next(augmentations)
        places = own_places(indices, len(targets))
        images = targets.images(indices[places], chosen[places], downscale)
        targets.expect(own_draws(sampler.coming, sampler.batch_size, len(targets)))
        return images

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "replay": self.replay.state_dict(),
            "sampler": self.sampler.state_dict() if self.sampler else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.replay.load_state_dict(state["replay"])
        if self.sampler is not None:
            self.sampler.load_state_dict(state["sampler"])


def discriminator_of(
    fabric: Fabric, run: Run, context: TrainingContext, sides: tuple[int, ...]
) -> DiscriminatorTrainer:
    """Return the discriminator of a run, for images of these sides."""
    return DiscriminatorTrainer(
        fabric, run, context.targets, sides=sides, given=context.discriminator,
        batch_size=run.optimisation.batch(),
    )  # fmt: skip


def patchgan(width: int, side: int, seed: int) -> nn.Module:
    """Return a PatchGAN with fresh weights for images of `side` pixels."""
    layers = min(PATCHGAN_LAYERS, int(math.log2(max(side, 1))) - 2)
    if layers < 1:
        raise UserError(
            f"images of {side}x{side} pixels are too small for a PatchGAN; name another "
            "--discriminator or leave the game out with --adversarial none"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PatchDiscriminator(width, layers)


@torch.no_grad()
def _try(network: nn.Module, sides: tuple[int, ...]) -> None:
    """Raise UserError where a user's discriminator does not take images of these sides."""
    parameter = next(network.parameters(), torch.zeros(()))
    network.eval()
    for side in sides:
        with torch.random.fork_rng(devices=[]):
            try:
                logits = network(parameter.new_zeros(2, 3, side, side))
            except (RuntimeError, TypeError, ValueError, IndexError) as error:
                reason = one_line(error)[:300]
                raise UserError(
                    f"the discriminator does not take images of {side}x{side} pixels: {reason}"
                ) from error
        if not isinstance(logits, Tensor):
            came = type(logits).__name__
            raise UserError(f"the discriminator must return a tensor of logits, got {came}")
