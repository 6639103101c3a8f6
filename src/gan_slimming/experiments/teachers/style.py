"""Adaptive style transfer (Sanakoyeu, Kotovenko, Lang, Ommer, ECCV 2018), by its own losses.

    D: -log D(style) - log(1 - D(photo)) - log(1 - D(G(photo))), at several layers     eq. 3
    G: -log D(G(photo)) + 100 * |E(G(photo)) - E(photo)| + 100 * (T(G(photo)) - T(photo))^2

E is the generator's own encoder (style-aware content, eq. 4), T a mean over 10x10 pixels, the
authors' form of their transformed image loss (eq. 5). As in their code, content is compared by its
absolute difference where eq. 4 has squares, and one player moves in a step: the discriminator until
it is right in 80 % of cases, then the generator.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from gan_slimming.config.teacher import TeacherSettings
from gan_slimming.experiments.teachers.game import Game, Player
from gan_slimming.experiments.teachers.random_crops import RandomCrops
from gan_slimming.experiments.teachers.style_discriminator import StyleDiscriminator, share_right
from gan_slimming.losses.adversarial import generator_loss
from gan_slimming.models import build_generator

BETAS = (0.9, 0.999)
CONTENT_WEIGHT = 100.0
IMAGE_WEIGHT = 100.0
MEAN_SIDE = 10
"""Side in pixels of the means that the transformed image loss compares."""
WIN_RATE = 0.8
"""Share of right judgements at which the generator moves."""
FRESHNESS = 0.05
"""Weight of the last step in the running share."""


class Balance:
    """The running share of right judgements, which says whose turn it is."""

    def __init__(self) -> None:
        self.right = WIN_RATE

    def note(self, share: float) -> None:
        """Take in the share of right judgements of a step."""
        self.right = (1 - FRESHNESS) * self.right + FRESHNESS * share

    def state_dict(self) -> dict[str, float]:
        """Return the share."""
        return {"right": self.right}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a share."""
        self.right = state["right"]


class StyleGame(Game):
    """The game of adaptive style transfer.

    Args:
        generator: with fresh weights, an `encoder` and a `decoder`.
        photos, paintings: crops of content and of style images.
    """

    def __init__(
        self,
        fabric: Fabric,
        settings: TeacherSettings,
        generator: nn.Module,
        photos: RandomCrops,
        paintings: RandomCrops,
    ) -> None:
        self.fabric, self.photos, self.paintings = fabric, photos, paintings
        judge = StyleDiscriminator(settings.discriminator_width, settings.size)
        self.generator = Player(fabric, {"generator": generator}, settings.lr, BETAS)
        self.discriminator = Player(fabric, {"discriminator": judge}, settings.lr, BETAS)
        self.balance = Balance()
        self.parts = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "photos": photos,
            "paintings": paintings,
            "balance": self.balance,
        }

    def step(self, taken: int) -> dict[str, float]:
        """Take one step of the player whose turn it is."""
        photos, paintings = (
            crops.next().to(self.fabric.device) for crops in (self.photos, self.paintings)
        )
        if self.balance.right >= WIN_RATE:
            terms = self._generator_step(photos)
        else:
            terms = self._discriminator_step(photos, paintings)
        return {**terms, "right": self.balance.right}

    def _generator_step(self, photos: Tensor) -> dict[str, float]:
        """Take a step of the generator; a fooled judge hands over to the discriminator."""
        generator: Any = self.generator.networks["generator"]
        judge = self.discriminator.networks["discriminator"].requires_grad_(False)
        with self.fabric.autocast():
            features = generator.encoder(photos)
            made = torch.tanh(generator.decoder(features) / 2)
            again = generator.encoder(made)
            logits = judge(made)
        adversarial = torch.stack([generator_loss("minimax", x) for x in logits]).sum()
        content = style_aware_content(again, features)
        image = transformed_image(made, photos)
        self.generator.step(adversarial + CONTENT_WEIGHT * content + IMAGE_WEIGHT * image)
        self.balance.note(float(share_right(logits, False)))
        terms = {"adversarial": adversarial, "content": content, "image": image}
        return {name: float(term.detach()) for name, term in terms.items()}

    def _discriminator_step(self, photos: Tensor, paintings: Tensor) -> dict[str, float]:
        """Take a step of the discriminator on paintings, photos and generated images."""
        judge = self.discriminator.networks["discriminator"].requires_grad_(True)
        with self.fabric.autocast():
            with torch.no_grad():
                made = self.generator.networks["generator"](photos)
            answers = [judge(paintings), judge(photos), judge(made.to(photos.dtype))]
        loss = several_layers(*answers)
        right = [
            share_right(x, real) for x, real in zip(answers, (True, False, False), strict=True)
        ]
        self.balance.note(float(torch.stack(right).mean()))
        return {"discriminator": self.discriminator.step(loss)}

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return four photos, each with its painting."""
        generator = self.generator.networks["generator"].eval()
        rows: list[Tensor] = []
        for photo in self.photos.shown():
            rows += [photo, generator(photo[None].to(self.fabric.device))[0].float().cpu()]
        generator.train()
        return torch.stack(rows)

    def generators(self) -> dict[str, nn.Module]:
        """Return the generator."""
        return {"teacher": self.generator.networks["generator"].eval()}

    def discriminators(self) -> dict[str, nn.Module]:
        """Return the discriminator, which gives a list of maps."""
        return {"discriminator": self.discriminator.networks["discriminator"]}


def style_aware_content(made: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean absolute difference of the encoder's features of output and input.

    Gradients reach the encoder through both, as in the authors' code.
    """
    return (made.float() - wanted.float()).abs().mean()


def transformed_image(made: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared difference of images after a mean over 10x10 pixels."""
    difference = made.float() - wanted.float()
    return F.avg_pool2d(difference, MEAN_SIDE, stride=1).square().mean()


def several_layers(painting: list[Tensor], photo: list[Tensor], made: list[Tensor]) -> Tensor:
    """Return the discriminator's loss: paintings are real, photos and generated images are not.

    Cross entropy, a mean over each judge's map, a sum over judges (eq. 3).
    """
    real = [F.softplus(-x.float()).mean() for x in painting]
    false = [F.softplus(x.float()).mean() for x in (*photo, *made)]
    return torch.stack([*real, *false]).sum()


def build_style(settings: TeacherSettings) -> nn.Module:
    """Return the generator of adaptive style transfer with fresh weights."""
    return build_generator("adaptive-style", width=settings.width, blocks=settings.blocks)
