"""The adversarial losses of generator and discriminator, and the replay buffer.

Logits are the discriminator's raw outputs, of any shape (a patch discriminator's are a map). Every
loss is a scalar, the mean over all logits, in float32 or wider.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.errors import UserError

KINDS = ("lsgan", "hinge", "minimax")
"""lsgan: least squares, Mao et al. 2017, the paper's released setting; hinge: Miyato et al. 2018
(SNGAN); minimax: Goodfellow et al. 2014, the paper's written objective, with the non-saturating
generator."""


def generator_loss(kind: str, fake_logits: Tensor) -> Tensor:
    """Return the generator's loss, least when the discriminator takes its images for real.

    lsgan (D(G(x)) - 1)^2, hinge -D(G(x)), minimax -log sigmoid(D(G(x))).
    """
    fake = _wide(fake_logits)
    if kind == "lsgan":
        return (fake - 1).square().mean()
    if kind == "hinge":
        return -fake.mean()
    if kind == "minimax":
        return F.softplus(-fake).mean()
    raise _unknown(kind)


def discriminator_loss(kind: str, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the discriminator's loss on real images y and on generated images G(x).

    lsgan ((D(y) - 1)^2 + D(G(x))^2) / 2, hinge max(0, 1 - D(y)) + max(0, 1 + D(G(x))),
    minimax -log sigmoid(D(y)) - log(1 - sigmoid(D(G(x)))).
    """
    real, fake = _wide(real_logits), _wide(fake_logits)
    if kind == "lsgan":
        return ((real - 1).square().mean() + fake.square().mean()) / 2
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if kind == "minimax":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    raise _unknown(kind)


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _unknown(kind: str) -> UserError:
    return UserError(f"the adversarial loss must be one of {', '.join(KINDS)}, got {kind!r}")


class ReplayBuffer:
    """A buffer of earlier generated images for the discriminator (Shrivastava et al. 2017).

    Until `size` images are kept, each new image is kept and returned. After that, with probability
    1/2 a new image is returned; otherwise it replaces a random kept one, which is returned. The
    same generator state and the same images give the same result.
    """

    def __init__(self, size: int = 50, generator: torch.Generator | None = None) -> None:
        """Keep `size` images (0: none), chosen with a CPU `generator` (default: seeded with 0)."""
        if size < 0:
            raise UserError(f"the replay buffer's size must be 0 or more images, got {size}")
        self.size = size
        self.generator = generator if generator is not None else torch.Generator().manual_seed(0)
        self._images: list[Tensor] = []

    def __len__(self) -> int:
        """Return the number of images kept."""
        return len(self._images)

    def exchange(self, images: Tensor) -> Tensor:
        """Return as many images (batch, 3, height, width) as given, new or old, detached."""
        images = images.detach()
        if self.size == 0:
            return images
        return torch.stack([self._exchange_one(image) for image in images])

    def _exchange_one(self, image: Tensor) -> Tensor:
        if len(self._images) < self.size:
            self._images.append(image.clone())
            return image
        if torch.rand((), generator=self.generator).item() < 0.5:
            return image
        place = int(torch.randint(self.size, (), generator=self.generator).item())
        kept = self._images[place]
        self._images[place] = image.clone()
        # An image of another size does not fit this batch; it is replaced all the same.
        return kept.to(image) if kept.shape == image.shape else image

    def state_dict(self) -> dict[str, Any]:
        """Return the images (on the CPU) and the generator's state, as tensors only."""
        images = [image.cpu().clone() for image in self._images]
        return {"images": images, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`, with at most `size` images."""
        self._images = [image.clone() for image in state["images"]][: self.size]
        self.generator.set_state(state["generator"].cpu())
