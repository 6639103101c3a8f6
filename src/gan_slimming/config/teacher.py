"""The settings of a dense teacher's training, at three scales. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gan_slimming.config.checks import check, check_between, check_finite, check_numbers
from gan_slimming.errors import UserError


@dataclass(frozen=True)
class TeacherSettings:
    """All settings of a teacher's training; its images are the other input."""

    name: str
    """sngan, cyclegan or adaptive-style."""
    scale: str
    """smoke (seconds), cpu (an evening on two cores) or full (the paper's, for a GPU)."""
    steps: int | None = None
    """Number of training steps, each of the generator and its discriminator."""
    minutes: float | None = None
    """Minutes of work, instead of steps."""
    size: int = 32
    """Height and width of the training images in pixels."""
    width: int = 64
    """Channels of the generator's first layer (of all layers in SNGAN)."""
    blocks: int = 0
    """Residual blocks of the generator; 0 where the architecture fixes them."""
    discriminator_width: int = 64
    """Channels of the discriminator's first layer (of all layers in SNGAN)."""
    batch_size: int = 64
    """Real images of a discriminator's step."""
    generated: int = 64
    """Generated images of a generator's step; SNGAN alone differs from `batch_size`."""
    discriminator_steps: int = 1
    """Steps of the discriminator for each of the generator (n_dis); SNGAN alone has more than 1."""
    lr: float = 2e-4
    """Adam's learning rate, of both players."""
    decay_from: float = 0.0
    """Share of the run after which the rate falls linearly to 0; 1 for never."""
    ema: float = 0.0
    """Decay of the generator's moving average, which is what is kept; 0 for none."""
    seed: int = 0
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: str = "auto"
    """auto, 32-true or bf16-mixed."""
    threads: int | None = None
    """Number of CPU threads; None leaves it to torch."""
    checkpoint_seconds: float = 240.0
    """Seconds between two checkpoints."""

    def __post_init__(self) -> None:
        if (self.steps is None) is (self.minutes is None):
            raise UserError(
                f"name steps or minutes, one of them: got {self.steps} and {self.minutes}"
            )
        check_finite(self)
        check_numbers(
            steps=self.steps, width=self.width, discriminator_width=self.discriminator_width,
            batch_size=self.batch_size, generated=self.generated, size=self.size, seed=self.seed,
            discriminator_steps=self.discriminator_steps, threads=self.threads,
        )  # fmt: skip
        check_between("blocks", self.blocks, 0, 1000)
        check(self.minutes is None or self.minutes > 0, "minutes", self.minutes, "above 0")
        check(self.lr > 0, "lr", self.lr, "above 0, such as 0.0002")
        check(0 <= self.decay_from <= 1, "decay_from", self.decay_from, "in [0, 1]")
        check(0 <= self.ema < 1, "ema", self.ema, "in [0, 1)")
        seconds = self.checkpoint_seconds
        check(seconds >= 0, "checkpoint_seconds", seconds, "0 or more")


_SNGAN: dict[str, dict[str, Any]] = {
    "smoke": {"steps": 6, "width": 4, "discriminator_width": 4, "batch_size": 4, "generated": 4,
              "discriminator_steps": 2},
    "cpu": {"minutes": 180.0, "width": 64, "discriminator_width": 64, "discriminator_steps": 2},
    "full": {"steps": 50_000, "width": 256, "discriminator_width": 128, "generated": 128,
             "discriminator_steps": 5},
}  # fmt: skip
_CYCLEGAN: dict[str, dict[str, Any]] = {
    "smoke": {"steps": 6, "size": 32, "width": 2, "blocks": 1, "discriminator_width": 2},
    "cpu": {"minutes": 180.0, "size": 128, "width": 32, "blocks": 6, "discriminator_width": 32},
    "full": {"steps": 219_200, "size": 256, "width": 64, "blocks": 9, "discriminator_width": 64},
}
_STYLE: dict[str, dict[str, Any]] = {
    "smoke": {"steps": 6, "size": 32, "width": 2, "blocks": 1, "discriminator_width": 2},
    "cpu": {"minutes": 180.0, "size": 128, "width": 16, "blocks": 4, "discriminator_width": 16},
    "full": {"steps": 300_000, "size": 768, "width": 32, "blocks": 9, "discriminator_width": 64},
}
_IMAGES = {"batch_size": 1, "generated": 1}
SCALES: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "sngan": ({"size": 32, "ema": 0.999}, _SNGAN),
    "cyclegan": (_IMAGES | {"decay_from": 0.5}, _CYCLEGAN),
    "adaptive-style": (_IMAGES | {"decay_from": 1.0}, _STYLE),
}
"""Name -> settings of every scale, and of each. Full is as published: SNGAN as in the authors' file
sn_cifar10_unconditional.yml, with an average they do not keep; CycleGAN 200 passes over the 1096
images of maps; adaptive style transfer 300,000 steps on crops of 768 pixels."""


def teacher_settings(name: str, scale: str, given: Mapping[str, Any]) -> TeacherSettings:
    """Return the settings of a teacher at a scale.

    Args:
        name: a key of SCALES.
        scale: smoke, cpu or full.
        given: settings that take the place of the scale's; None leaves these.
    Raises:
        UserError: an unknown name or scale, or a setting out of range.
    """
    if name not in SCALES:
        raise UserError(f"no teacher is called {name!r}; take one of {', '.join(SCALES)}")
    shared, scales = SCALES[name]
    if scale not in scales:
        raise UserError(f"scale must be one of {', '.join(scales)}, got {scale!r}")
    own = {key: value for key, value in given.items() if value is not None}
    known = shared | scales[scale]
    if "steps" in own or "minutes" in own:  # either replaces either
        known = {key: value for key, value in known.items() if key not in ("steps", "minutes")}
    return TeacherSettings(name, scale, **(known | own))
