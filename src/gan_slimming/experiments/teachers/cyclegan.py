"""CycleGAN (Zhu, Park, Isola, Efros, ICCV 2017): two generators that undo each other.

    G: A -> B, F: B -> A
    loss = LSGAN(D_B(G(a))) + LSGAN(D_A(F(b)))
         + 10 * (|F(G(a)) - a| + |G(F(b)) - b|)          eq. 2, lambda
         +  5 * (|G(b) - b| + |F(a) - a|)                section 5.2, lambda / 2

Each discriminator learns from one of the last 50 images, new or old, and its loss is halved, as
section 4 says. Adam(0.5, 0.999).
"""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from gan_slimming.config.teacher import TeacherSettings
from gan_slimming.experiments.teachers.game import Game, Player
from gan_slimming.experiments.teachers.random_crops import RandomCrops
from gan_slimming.losses.adversarial import ReplayBuffer, discriminator_loss, generator_loss
from gan_slimming.models import build_generator
from gan_slimming.training.discriminator import patchgan

BETAS = (0.5, 0.999)
CYCLE_WEIGHT = 10.0
IDENTITY_WEIGHT = 5.0
REPLAY = 50
"""Generated images that each discriminator is shown again."""


class CycleganGame(Game):
    """The game of CycleGAN, both directions at once.

    Args:
        forth, back: generators A -> B and B -> A with fresh weights.
        a, b: crops of both kinds of images.
    """

    def __init__(
        self,
        fabric: Fabric,
        settings: TeacherSettings,
        forth: nn.Module,
        back: nn.Module,
        a: RandomCrops,
        b: RandomCrops,
    ) -> None:
        self.fabric, self.a, self.b = fabric, a, b
        width, size, seed = settings.discriminator_width, settings.size, settings.seed
        pair = {
            "b": patchgan(width, size, seed + 1),
            "a": patchgan(width, size, seed + 2),
        }
        self.generators_ = Player(fabric, {"forth": forth, "back": back}, settings.lr, BETAS)
        self.discriminators_ = Player(fabric, pair, settings.lr, BETAS)
        self.replay = {
            kind: ReplayBuffer(REPLAY, torch.Generator().manual_seed(seed + place))
            for place, kind in enumerate(("a", "b"), 3)
        }
        self.parts = {
            "generators": self.generators_,
            "discriminators": self.discriminators_,
            "replay_a": self.replay["a"],
            "replay_b": self.replay["b"],
            "crops_a": a,
            "crops_b": b,
        }

    def step(self, taken: int) -> dict[str, float]:
        """Take one step of both generators, then one of both discriminators."""
        a, b = (crops.next().to(self.fabric.device) for crops in (self.a, self.b))
        terms, fakes = self._generator_terms(a, b)
        weights = {"cycle": CYCLE_WEIGHT, "identity": IDENTITY_WEIGHT}
        total = sum(
            (weights.get(name, 1.0) * term for name, term in terms.items()), a.new_zeros(())
        )
        self.generators_.step(total)
        loss = self._discriminator_loss({"a": a, "b": b}, fakes)
        told = {name: float(term.detach()) for name, term in terms.items()}
        return {"discriminator": self.discriminators_.step(loss), **told}

    def _generator_terms(self, a: Tensor, b: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the terms of the generators' loss, without weights, and the generated images."""
        forth, back = self.generators_.networks["forth"], self.generators_.networks["back"]
        judges = self.discriminators_.networks.requires_grad_(False)
        with self.fabric.autocast():
            fake_b, fake_a = forth(a), back(b)
            adversarial = generator_loss("lsgan", judges["b"](fake_b)) + generator_loss(
                "lsgan", judges["a"](fake_a)
            )
            cycle = _l1(back(fake_b), a) + _l1(forth(fake_a), b)
            identity = _l1(forth(b), b) + _l1(back(a), a)
        terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
        return terms, {"a": fake_a.detach().float(), "b": fake_b.detach().float()}

    def _discriminator_loss(self, real: dict[str, Tensor], fakes: dict[str, Tensor]) -> Tensor:
        """Return the loss of both discriminators, each on real images and new or replayed ones."""
        judges = self.discriminators_.networks.requires_grad_(True)
        loss = real["a"].new_zeros(())
        for kind in ("a", "b"):
            with self.fabric.autocast():
                real_logits = judges[kind](real[kind])
                fake_logits = judges[kind](self.replay[kind].exchange(fakes[kind]))
            loss = loss + discriminator_loss("lsgan", real_logits, fake_logits)
        return loss

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Return inputs and outputs in turn: four of A -> B, then four of B -> A."""
        networks, rows = self.generators_.networks, []
        for name, crops in (("forth", self.a), ("back", self.b)):
            for image in crops.shown():
                made = networks[name].eval()(image[None].to(self.fabric.device))
                rows += [image, made[0].float().cpu()]
                networks[name].train()
        return torch.stack(rows)

    def generators(self) -> dict[str, nn.Module]:
        """Return both generators."""
        networks = self.generators_.networks
        return {"teacher": networks["forth"].eval(), "teacher_back": networks["back"].eval()}

    def discriminators(self) -> dict[str, nn.Module]:
        """Return both discriminators: of images like B, and like A."""
        networks = self.discriminators_.networks
        return {"discriminator": networks["b"], "discriminator_back": networks["a"]}


def build_cyclegan(settings: TeacherSettings) -> nn.Module:
    """Return a generator of CycleGAN with fresh weights."""
    return build_generator("cyclegan", width=settings.width, blocks=settings.blocks)


def _l1(made: Tensor, wanted: Tensor) -> Tensor:
    return (made.float() - wanted).abs().mean()
