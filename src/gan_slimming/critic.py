"""The other player of the game: discriminator, memory of old pictures, optimiser."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from gan_slimming.config import Run
from gan_slimming.data.images import PictureSet, Sampler
from gan_slimming.data.teacher_outputs import shrunk
from gan_slimming.losses.adversarial import ReplayBuffer
from gan_slimming.models.patchgan import PatchDiscriminator
from gan_slimming.objective import critic_loss


class Critic:
    """A PatchGAN that tells real pictures from the student's.

    Real are the target pictures where the user has them, else the teacher's outputs.
    """

    def __init__(self, fabric: Fabric, run: Run, targets: PictureSet | None):
        s = run.optimisation
        self.fabric, self.objective, self.targets = fabric, run.objective, targets
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            self.network: nn.Module = PatchDiscriminator(s.discriminator_width).to(fabric.device)
        self.replay = ReplayBuffer(s.replay, torch.Generator().manual_seed(run.seed + 1))
        self.sampler = Sampler(len(targets), s.batch_size, run.seed + 2) if targets else None
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=s.discriminator_lr, betas=s.betas
        )

    def frozen(self) -> nn.Module:
        """The discriminator as the student's loss sees it: gradients pass, none are kept."""
        return self.network.requires_grad_(False)

    def step(self, teacher: Tensor, fake: Tensor, shrink: int) -> float:
        """One step on real pictures against the student's, new and remembered; returns the loss.

        Args:
            teacher, fake: (batch, 3, side, side) RGB in [-1, 1], without gradient.
            shrink: by how much target pictures are made smaller to be as large.
        """
        real = teacher
        if self.sampler is not None and self.targets is not None:
            real = shrunk(self.targets.batch(*self.sampler.next()).to(fake.device), shrink)
        self.network.requires_grad_(True)
        with self.fabric.autocast():
            loss = critic_loss(self.objective, self.network, real, self.replay.exchange(fake))
        self.fabric.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
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
