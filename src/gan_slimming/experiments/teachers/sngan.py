"""SNGAN without classes (Miyato, Kataoka, Koyama, Yoshida, ICLR 2018, section 4 and appendix B).

Hinge loss, spectral normalisation of every layer of the discriminator, several steps of it for each
of the generator's, Adam(0, 0.9) with a rate that falls to 0. The kept generator is a moving average
(Yazici et al., ICLR 2019), which the paper's is not; its batch norms take their statistics anew.
"""

from __future__ import annotations

import copy

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from gan_slimming.config.teacher import TeacherSettings
from gan_slimming.data.sampler import Sampler
from gan_slimming.experiments.teachers.game import Game, Player, Random
from gan_slimming.losses.adversarial import discriminator_loss, generator_loss
from gan_slimming.models import build_discriminator, build_generator, spec_of
from gan_slimming.training.batch_statistics import recalibrate
from gan_slimming.training.ema import update_average

BETAS = (0.0, 0.9)
SHOWN = 64
"""Sample images."""
STATISTICS_BATCHES = 50
"""Batches over which the kept generator's batch statistics are taken."""


class SnganGame(Game):
    """The game of SNGAN.

    Args:
        generator: with fresh weights.
        pixels: real images (count, 3, 32, 32), uint8.
    """

    def __init__(
        self, fabric: Fabric, settings: TeacherSettings, generator: nn.Module, pixels: Tensor
    ) -> None:
        self.fabric, self.settings, self.pixels = fabric, settings, pixels
        discriminator = build_discriminator("sngan", width=settings.discriminator_width)
        self.average = copy.deepcopy(generator).to(fabric.device).eval().requires_grad_(False)
        self.latent = spec_of(generator).contract.latent_size
        lr = settings.lr
        self.generator = Player(fabric, {"generator": generator}, lr, BETAS)
        self.discriminator = Player(fabric, {"discriminator": discriminator}, lr, BETAS)
        self.sampler = Sampler(len(pixels), settings.batch_size, settings.seed)
        self.noise = Random(f"{settings.seed}:sngan:noise")
        self.parts = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
            "sampler": self.sampler,
            "noise": self.noise,
        }

    def step(self, taken: int) -> dict[str, float]:
        """Take `discriminator_steps` steps of the discriminator and one of the generator."""
        told = [self._discriminator_step() for _ in range(self.settings.discriminator_steps)]
        discriminator = self.discriminator.networks["discriminator"].requires_grad_(False)
        generator = self.generator.networks["generator"]
        with self.fabric.autocast():
            logits = discriminator(generator(self._latents(self.settings.generated)))
        loss = self.generator.step(generator_loss("hinge", logits))
        if self.settings.ema:
            update_average(self.average, generator, self.settings.ema, taken)
        return {"discriminator": sum(told) / len(told), "generator": loss}

    def _discriminator_step(self) -> float:
        """Take one step on as many real images as generated ones; return its loss."""
        discriminator = self.discriminator.networks["discriminator"].requires_grad_(True)
        indices, _ = self.sampler.next()
        real = (self.pixels[indices].float() / 127.5 - 1).to(self.fabric.device)
        with self.fabric.autocast():
            with torch.no_grad():
                latents = self._latents(len(real))
                fake = self.generator.networks["generator"](latents)
            logits = discriminator(torch.cat([real, fake.to(real.dtype)]))
        return self.discriminator.step(discriminator_loss("hinge", *logits.chunk(2)))

    def _latents(self, count: int) -> Tensor:
        return self.noise.normal(count, self.latent).to(self.fabric.device)

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return 64 images of the kept generator, from the same noise every time."""
        latents = Random(f"{self.settings.seed}:sngan:shown").normal(SHOWN, self.latent)
        return self._kept()(latents.to(self.fabric.device)).float().cpu()

    @torch.no_grad()
    def generators(self) -> dict[str, nn.Module]:
        """Return the kept generator, its batch statistics those of its own weights."""
        kept = self._kept()
        noise = Random(f"{self.settings.seed}:sngan:statistics")
        size = max(2, self.settings.batch_size)
        batches = (
            (noise.normal(size, self.latent).to(self.fabric.device),)
            for _ in range(STATISTICS_BATCHES)
        )
        recalibrate(kept, batches)
        return {"teacher": kept.eval()}

    def _kept(self) -> nn.Module:
        """Return a copy of the average in evaluation mode; without one, of the generator."""
        of = self.average if self.settings.ema else self.generator.networks["generator"]
        return copy.deepcopy(of).eval()

    def discriminators(self) -> dict[str, nn.Module]:
        """Return the discriminator, with its spectral normalisation."""
        return {"discriminator": self.discriminator.networks["discriminator"]}


def build_sngan(settings: TeacherSettings) -> nn.Module:
    """Return SNGAN's generator with fresh weights."""
    return build_generator("sngan", width=settings.width)
