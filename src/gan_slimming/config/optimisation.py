"""The settings of the optimisation: optimisers, schedule and batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gan_slimming.config.checks import (
    MOST_COUNT,
    check,
    check_between,
    check_choice,
    check_finite,
    check_numbers,
)
from gan_slimming.errors import UserError

STEPS = 3000
"""Training steps of a run that states neither steps nor minutes."""
SLIM_SHARE, RHO_SLIM_SHARE = 0.025, 0.08
"""Share of the steps for slimming to a budget or a target, and by rho alone."""


@dataclass(frozen=True)
class Optimisation:
    """The optimisers, the schedule and the batches."""

    steps: int | None = None
    """Number of training steps: slimming (pruning to the budget) and recovery (training the small
    generator on). Not with --minutes. Default: 3000."""
    minutes: float | None = None
    """Minutes of training in place of --steps, such as 60; pauses do not count. All schedules
    follow the clock then."""
    slim_share: float | None = None
    """Share of the steps for slimming, between 0 and 1; the rest is recovery. Default: 0.025, or
    0.08 with --rho, whose gates need more steps to shrink."""
    half_size_share: float = 0.95
    """Share of the steps at half of --size (a quarter of the pixels), with crops where images are
    few. Take less if the teacher draws differently there, such as stripes of a fixed width."""
    batch_size: int | None = None
    """Number of images per step of all processes, such as 4. Default: 2, or 16 where the generator
    takes noise."""
    images_at_once: int | None = None
    """Most images that a process computes at once, such as 2, for less memory: the gradients of a
    larger share of a step are added up part by part. Default: all of them."""
    draws_per_answer: int | None = 8
    """Average number of draws of each of the teacher's answers: short runs take few images, long
    ones mirrored images and crops as well. None takes all images, always mirrored."""
    optimizer: Literal["muon", "adam"] = "muon"
    """Optimiser of the weights: 'muon', orthogonalised momentum for the kernels between the first
    and the last convolution, with Adam for the rest; or 'adam' for all, as in the paper."""
    muon_lr: float = 0.02
    """Muon's step as a share of each kernel's root mean square, in both stages; cosine decay."""
    lr: float = 2e-4
    """Adam's learning rate of the weights in slimming, with cosine decay."""
    recover_lr: float = 1e-3
    """Adam's learning rate of the weights in recovery, with cosine decay."""
    warmup: int = 20
    """Number of steps in which each stage's learning rate rises to its full value."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates of the gradient's mean and square, such as [0.9, 0.999]."""
    weight_decay: float = 0.0
    """Adam's L2 weight decay."""
    gate_lr: float = 0.1
    """Learning rate of the gates, the factors of channels that pruning drives to 0 (SGD; eta in the
    paper)."""
    gate_momentum: float = 0.5
    """Momentum of the gates' SGD, from 0 to below 1."""
    range_lr: float = 1e-4
    """Adam's learning rate of the activation ranges, as a share of each range."""
    discriminator_lr: float = 2e-4
    """Adam's learning rate of the discriminator."""
    discriminator_width: int = 32
    """Number of channels in the first layer of a new PatchGAN (64 in the paper)."""
    discriminator_bits: int | None = None
    """Bits of the discriminator's weights and activations, 2 to 8. Default: no quantisation."""
    replay: int = 50
    """Number of earlier generated images kept for the discriminator; 0 for none."""
    ema: float = 0.998
    """Decay per step of the moving average of weights that is saved in the end; 0 for none."""
    gate_start: Literal["saliency", "one"] = "saliency"
    """Start of the gates: each at its channel's effect on the output (saliency), or all at 1
    (one)."""
    floor: float = 0.75
    """Least width of each channel group, 0 to 1, as a share of its width in an evenly narrowed
    generator of the same cost."""
    block_share: float | None = None
    """Share of the residual blocks that stay when slimming to a budget, 0 to 1. Those of the least
    effect on the image are taken out first, and the other layers stay wider. Default: a half for
    budgets up to 15 %, else all."""
    width_multiple: int = 1
    """Divisor of the widths of pruned channel groups, in channels: 16 suits int8 kernels, which
    compute 16 at once. The cost may then end several percent below the budget. Needs a budget."""

    def __post_init__(self) -> None:
        check_finite(self)
        if self.steps is not None and self.minutes is not None:
            raise UserError(
                f"name steps or minutes, not both: got {self.steps} steps, {self.minutes:g} minutes"
            )
        if self.steps is None and self.minutes is None:
            object.__setattr__(self, "steps", STEPS)
        check_numbers(steps=self.steps)
        check(self.minutes is None or self.minutes > 0, "minutes", self.minutes, "above 0")
        share = self.slim_share
        check(share is None or 0 < share < 1, "slim_share", share, "between 0 and 1")
        share = self.half_size_share
        check(0 <= share <= 1, "half_size_share", share, "between 0 and 1")
        check_numbers(batch_size=self.batch_size, images_at_once=self.images_at_once)
        check_numbers(draws_per_answer=self.draws_per_answer)
        for name in ("lr", "recover_lr", "muon_lr", "gate_lr", "discriminator_lr"):
            check(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        for name in ("weight_decay", "range_lr"):
            check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        check(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "betas", self.betas,
               "two numbers in [0, 1)")  # fmt: skip
        check(0 <= self.gate_momentum < 1, "gate_momentum", self.gate_momentum, "in [0, 1)")
        for name, most in (("replay", MOST_COUNT), ("warmup", MOST_COUNT)):
            check_between(name, getattr(self, name), 0, most)
        check_between("discriminator_width", self.discriminator_width, 1, 4096)
        check_between("discriminator_bits", self.discriminator_bits, 2, 8)
        check_choice(self, "gate_start", "gate_start")
        check_choice(self, "optimizer", "optimizer")
        check(0 <= self.ema < 1, "ema", self.ema, "in [0, 1)")
        check(0 <= self.floor <= 1, "floor", self.floor, "in [0, 1]")
        blocks = self.block_share
        check(blocks is None or 0 <= blocks <= 1, "block_share", blocks, "in [0, 1]")
        multiple = self.width_multiple
        check(multiple >= 1, "width_multiple", multiple, "at least 1")

    def slimming(self, *, by_rho: bool = False) -> float:
        """Return the share of the steps for slimming, by the paper's rho or to a goal."""
        return self.slim_share or (RHO_SLIM_SHARE if by_rho else SLIM_SHARE)

    def batch(self, noise: bool = False) -> int:
        """Return the number of images per step, for a generator of noise or of images."""
        return self.batch_size or (16 if noise else 2)
