"""All settings of a run, checked when they are made. Imports no torch, so that --help is quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gan_slimming.config.bits import bits_of_weights
from gan_slimming.config.checks import (
    MOST_COUNT,
    MOST_SIDE,
    MOST_THREADS,
    check,
    check_between,
    check_choice,
    check_finite,
    check_numbers,
)
from gan_slimming.config.exports import check_exports
from gan_slimming.config.goals import Budget, Target
from gan_slimming.config.memory import WHOLE_FOLDERS, Memory
from gan_slimming.config.old_names import RENAMED, taking_old_names
from gan_slimming.errors import UserError

STEPS = 3000
"""Training steps of a run that states neither steps nor minutes."""


@taking_old_names
@dataclass(frozen=True)
class Objective:
    """The terms of the objective and their weights."""

    adversarial: Literal["auto", "lsgan", "hinge", "minimax", "none"] = "auto"
    """The GAN game: 'lsgan' (least squares), 'hinge', 'minimax' (the paper's equation), or 'none'.
    'auto' plays 'lsgan' where there are real images to learn from (--targets) or a --discriminator,
    else none: the teacher's own images teach more by their distance alone."""
    adversarial_weight: float = 0.1
    """Weight of the GAN loss (1 in the paper)."""
    distill: Literal["auto", "lpips", "paper", "vgg19", "encoder", "l1", "spectral"] = "auto"
    """Distance of the student's images to the teacher's: 'lpips' (SqueezeNet), 'paper' (VGG-16: L1
    and Gram matrices), 'vgg19' (content and Gram matrices), 'encoder' (the teacher's first layers),
    'l1' (pixels), 'spectral' (of waveforms). 'auto' takes 'lpips' if its weights are on this
    machine, else 'encoder' ('l1' for a generator of noise); 'spectral' for one of waveforms."""
    distill_weight: float = 1.0
    """Weight of --distill (the paper's beta, 20 in the released setting)."""
    pixel_weight: float = 0.5
    """Weight of the L1 distance of pixels to the teacher at several scales, which keeps colours and
    edges in place."""
    pixel_scales: int = 3
    """Levels of that L1's pyramid, each half as large: 3 compare means over up to 4 pixels, 6 over
    up to 32, which hold the hue of areas."""
    colour_weight: float = 1.0
    """Weight of the difference to the teacher in the mean colours of areas of 16x16 pixels."""
    lattice_weight: float = 1.0
    """Weight of dots: patterns of 2 and 4 pixels that narrow upsampling layers leave, and the
    teacher does not have."""
    feature_distillation_weight: float = 3.0
    """Weight, at the start of recovery, of the distance between hidden channels of the student and
    the same channels of the teacher. In the first half of recovery it falls to its product with the
    share of MACs left: from 3 to 0.15 at 5 %."""
    upsample_to: int = 64
    """Least side in pixels of the images that a feature network (lpips, paper, vgg19) compares.
    Smaller images are enlarged, because the network was trained on larger ones (256 in the
    paper)."""
    rho: float | None = None
    """The paper's weight of sparsity, such as 0.01, instead of a budget. A larger one prunes more.
    Default: set at every step by the budget."""

    def __post_init__(self) -> None:
        for name in (
            "adversarial_weight",
            "distill_weight",
            "pixel_weight",
            "colour_weight",
            "lattice_weight",
            "feature_distillation_weight",
        ):
            check(getattr(self, name) >= 0, f"objective.{name}", getattr(self, name), "0 or more")
        check_finite(self, "objective.")
        scales = self.pixel_scales
        check_between("objective.pixel_scales", scales, 1, 16)
        check_between("objective.upsample_to", self.upsample_to, 1, MOST_SIDE)
        check_choice(self, "adversarial", "objective.adversarial")
        check_choice(self, "distill", "objective.distill")
        check(self.rho is None or self.rho > 0, "rho", self.rho, "above 0, such as 0.01")

    def decided(self, *, real: bool) -> Objective:
        """Return the objective with a game in place of 'auto'.

        Args:
            real: whether there are real images, or a discriminator that has seen some.
        """
        if self.adversarial != "auto":
            return self
        return replace(self, adversarial="lsgan" if real else "none")


@dataclass(frozen=True)
class Optimisation:
    """The optimisers, the schedule and the batches."""

    steps: int | None = None
    """Number of training steps: slimming (pruning to the budget) and recovery (training the small
    generator on). Not with --minutes. Default: 3000."""
    minutes: float | None = None
    """Minutes of training in place of --steps, such as 60; pauses do not count. All schedules
    follow the clock then."""
    slim_share: float = 0.08
    """Share of the steps for slimming, between 0 and 1; the rest is recovery."""
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
    """Share of the residual blocks that stay when slimming to a budget, 0 to 1; the others are
    taken out first, and their work goes to wider layers. Default: a half for budgets up to 15 %,
    else all."""
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
        check(0 < self.slim_share < 1, "slim_share", self.slim_share, "between 0 and 1")
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

    def batch(self, noise: bool = False) -> int:
        """Return the number of images per step, for a generator of noise or of images."""
        return self.batch_size or (16 if noise else 2)


@dataclass(frozen=True)
class Run:
    """All settings of a run; the teacher and the images are its other inputs."""

    budget: Budget = field(default_factory=Budget)
    objective: Objective = field(default_factory=Objective)
    optimisation: Optimisation = field(default_factory=Optimisation)
    bits: int | None = 8
    """Bits per activation and per weight, 2 to 8; None for no quantisation."""
    weight_bits: int | None = None
    """Bits per weight, 2 to 8; None takes `bits`, but at most PORTABLE_WEIGHT_BITS."""
    activation_range: float | None = None
    """Upper end p of the fixed range [0, p] of activations (4 in the paper); None calibrates each
    range, then learns it."""
    quantize_outputs: bool = False
    """Whether the outputs of convolutions, except the last, are rounded to `bits`, too, as ONNX
    Runtime's fast kernels do."""
    size: int = 256
    """Height and width of training images in pixels; without effect for generators of noise."""
    latents: int = 10_000
    """Number of noise vectors to train on, for generators of noise."""
    holdout: int | None = None
    """Number of inputs held out of training, to track quality; None for 16, or a fifth of fewer
    than 80 images."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: str = "auto"
    """auto, 32-true or bf16-mixed; auto takes bf16 if the machine and the generator support it."""
    threads: int | None = None
    """Number of CPU threads; None times one and all, and keeps the faster when a run is resumed."""
    seed: int = 0
    """Seed of all random numbers, 0 to 2^62."""
    memory: Memory = field(default_factory=Memory)
    workers: int = 2
    """Number of threads that decode images; 0 reads each where it is drawn."""
    checkpoint_seconds: float = 240.0
    """Time between two checkpoints in seconds: what a crash can cost."""
    target: Target = field(default_factory=Target)
    teacher_mode: Literal["eval", "train"] = "eval"
    """The mode in which the teacher's own script runs it: with train, batch norms take the
    statistics of each image, and dropout is off."""
    fix_noise: bool = False
    """Whether noise that the generator draws inside is the same for every image."""
    dropout: Literal["off", "keep"] = "off"
    """Whether dropout that the forward calls with training=True is left out, or kept random."""
    exports: tuple[str, ...] = ()
    """Formats of the files that are written at the end: 'onnx', 'openvino'."""

    def __post_init__(self) -> None:
        check(self.bits is None or 2 <= self.bits <= 8, "bits", self.bits, "2 to 8, or none")
        w = self.weight_bits
        check(w is None or 2 <= w <= 8, "weight_bits", w, "2 to 8")
        p = self.activation_range
        check(p is None or p > 0, "activation_range", p, "above 0, such as the paper's 4")
        if self.quantize_outputs and self.bits is None:
            raise UserError("quantize_outputs needs bits, such as 8; got none")
        check_finite(self)
        check(self.size >= 32, "size", self.size, "at least 32 pixels")
        check_numbers(size=self.size, threads=self.threads, seed=self.seed)
        check_numbers(latents=self.latents, holdout=self.holdout)
        check(0 <= self.workers <= MOST_THREADS, "workers", self.workers, f"0 to {MOST_THREADS}")
        seconds = self.checkpoint_seconds
        check(seconds >= 0, "checkpoint_seconds", seconds, "0 or more")
        check_exports(self.exports)
        object.__setattr__(self, "exports", tuple(self.exports))  # a file has a list
        rho = self.objective.rho
        given = {"a budget": self.budget.kind, "a target": self.target.kind, "rho": rho}
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            raise UserError(
                f"name a budget, a target or rho, only one of them; got {' and '.join(named)}"
            )

    @property
    def stored_bits(self) -> int | None:
        """Bits per weight in the file; None for float."""
        return self.bits and bits_of_weights(self.bits, self.weight_bits)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Run:
        """Return the settings of a `dataclasses.asdict` record, saved by any version."""
        settings = dict(record)
        optimisation = dict(settings.pop("optimisation"))
        optimisation["betas"] = tuple(optimisation["betas"])
        optimisation.setdefault("optimizer", "adam")  # the only one of version 0.1
        optimisation.setdefault("draws_per_answer", None)
        optimisation.setdefault("block_share", 1.0)  # all stayed
        # Version 0.1 had neither term.
        objective: dict[str, Any] = {"colour_weight": 0.0, "lattice_weight": 0.0}
        objective |= settings.pop("objective")
        return cls(
            budget=Budget(**settings.pop("budget")),
            target=Target(**settings.pop("target", {})),
            objective=Objective(**{RENAMED.get(k, k): v for k, v in objective.items()}),
            optimisation=Optimisation(**optimisation),
            memory=Memory(**settings.pop("memory", WHOLE_FOLDERS)),
            **settings,
        )
