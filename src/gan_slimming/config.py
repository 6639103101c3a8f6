"""Every setting of a run, checked where it is made. Imports no torch, so that --help is quick."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Literal, get_args, get_type_hints

PORTABLE_WEIGHT_BITS = 7
"""Products of 8-bit inputs and so many bits of weights are exact in every CPU's int8 kernels.

Those without VNNI, AMX or dot products (AMD before Zen 4, Intel's laptops before 2020) add two
products in 16 bits, which saturate: 2 * 255 * 127 is more than 32,767, and 2 * 255 * 63 is not.
"""
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class UserError(Exception):
    """A mistake that the user can mend, in one line: what is wrong, what came, what to do."""


@dataclass(frozen=True)
class InputContract:
    """What a generator takes and gives, so that pictures reach it in the form it was trained on.

    The package's own pictures are RGB in [-1, 1]; conversion happens at the generator's border.
    """

    channels: int = 3
    """Channels of the input picture: 3, or 1 for a grey one."""
    low: float = -1.0
    """Value of a black pixel."""
    high: float = 1.0
    """Value of a white pixel."""
    colour_order: str = "RGB"
    """'RGB' or 'BGR'."""
    multiple_of: int = 1
    """Height and width must be multiples of this many pixels."""
    min_size: int = 1
    """Smallest height and width, in pixels, that the generator can take."""
    scale: int = 1
    """Height and width of its output over those of its input: 4 for a x4 super-resolution net."""
    latent_size: int = 0
    """Length of the noise vector that it takes instead of a picture; 0 where it takes pictures."""
    classes: int = 0
    """Number of classes, told as a second input of (batch,) int64; 0 where it takes none."""

    def __post_init__(self) -> None:
        if self.colour_order not in ("RGB", "BGR"):
            raise UserError(f"colour_order must be 'RGB' or 'BGR', got {self.colour_order!r}")
        if not self.low < self.high:
            raise UserError(f"low must be below high, got low={self.low}, high={self.high}")


@dataclass(frozen=True)
class Budget:
    """What the small generator may cost. Name one. A number up to 1 is a fraction of the teacher's.

    Absolute amounts take a unit: 300k, 2.5M, 1G.
    """

    macs: str | float | None = None
    """True multiply-accumulates of one picture at --size: 0.05 for 5 % of the teacher's; 2.7G."""
    parameters: str | float | None = None
    """Number of parameters: 0.05, or 600k."""
    bytes: str | float | None = None
    """Size of generator.safetensors: 0.02, or 300k."""

    def __post_init__(self) -> None:
        named = [f.name for f in dataclasses.fields(self) if getattr(self, f.name) is not None]
        if len(named) > 1:
            raise UserError(f"name one budget, got {' and '.join('budget.' + n for n in named)}")
        for name in named:
            parse_amount(f"budget.{name}", getattr(self, name))

    @property
    def kind(self) -> str | None:
        """'macs', 'parameters', 'bytes', or None where no budget is set."""
        for f in dataclasses.fields(self):
            if getattr(self, f.name) is not None:
                return f.name
        return None

    def amount(self, whole: float) -> float:
        """The budget in units, for a teacher that costs `whole`."""
        assert self.kind is not None
        value = parse_amount(f"budget.{self.kind}", getattr(self, self.kind))
        return value * whole if value <= 1 else value


def parse_amount(flag: str, value: str | float) -> float:
    """A fraction in (0, 1] or an absolute amount such as '300k'.

    Raises:
        UserError: zero, negative, no number, or a small number above 1, surely a percentage.
    """
    match = re.fullmatch(r"\s*([0-9.eE+-]+?)\s*([kKmMgGtT]?)i?[bB]?\s*", str(value))
    try:
        number = float(match[1]) * UNITS[match[2].lower()] if match else float("nan")
    except ValueError:
        number = float("nan")
    if 0 < number <= 1 or number >= 1000:
        return number
    hint = f"write {number / 100:g} for {number:g} %" if 1 < number <= 100 else "write 0.05 for 5 %"
    raise UserError(f"{flag} must be in (0, 1] or an amount such as 300k, got {value}; {hint}")


@dataclass(frozen=True)
class Objective:
    """The terms of the objective and their weights."""

    adversarial: Literal["lsgan", "hinge", "none"] = "lsgan"
    """The GAN game; 'none' leaves the term out."""
    adversarial_weight: float = 0.1
    """Weight of the adversarial term."""
    distill: Literal["auto", "lpips", "paper", "vgg19", "encoder", "l1"] = "auto"
    """Distance d to the teacher: 'lpips' (SqueezeNet), 'paper' (VGG-16 L1 and Gram), 'vgg19'
    (content and Gram), 'encoder' (the teacher's own first layers), 'l1' (pixels). 'auto' takes
    'lpips' where its weights are at hand, else 'encoder'."""
    distill_weight: float = 1.0
    """Weight of the distance to the teacher (the paper's beta, 20 in the released setting)."""
    pixel_weight: float = 0.5
    """Weight of a multi-scale L1 to the teacher, which holds colours and edges in place."""
    pixel_scales: int = 3
    """Levels of that L1's pyramid, each half as large: 3 compare means of up to 4 pixels, 6 of up
    to 32, which hold the hue of areas."""
    hidden_weight: float = 3.0
    """Weight of the distance between the student's hidden channels and the same of the teacher at
    the start of recovery; in its first half it falls to so much of it as is left of the MACs."""
    upsample_to: int = 64
    """Pictures of fewer pixels a side are enlarged to so many before a feature network (lpips,
    paper, vgg19) compares them: it was trained on larger ones (256 in the paper)."""
    rho: float | None = None
    """Sparsity weight of the paper. None lets the budget choose it at every step."""

    def __post_init__(self) -> None:
        for name in ("adversarial_weight", "distill_weight", "pixel_weight", "hidden_weight"):
            _check(getattr(self, name) >= 0, f"objective.{name}", getattr(self, name), "0 or more")
        scales = self.pixel_scales
        _check(scales >= 1, "objective.pixel_scales", scales, "at least 1")
        _check(self.upsample_to >= 1, "objective.upsample_to", self.upsample_to, "at least 1")
        _check_choice(self, "adversarial", "objective.adversarial")
        _check_choice(self, "distill", "objective.distill")
        _check(self.rho is None or self.rho > 0, "rho", self.rho, "above 0, such as 0.01")


@dataclass(frozen=True)
class Optimisation:
    """Optimisers, schedule and batches."""

    steps: int = 3000
    """Generator steps in all, slimming and recovery together."""
    slim_share: float = 0.08
    """Share of the steps in which the budget is reached; the rest recovers on the small net."""
    half_size_share: float = 0.95
    """Share of the steps at half the size, a quarter of the pixels (and of parts, where pictures
    are few). Take less where the teacher draws other things there, as stripes of a fixed width."""
    batch_size: int | None = None
    """Pictures a step; without it 2, or 16 where the generator takes noise."""
    optimizer: Literal["muon", "adam"] = "muon"
    """What trains weights: 'muon', orthogonalised momentum for the kernels between the first and
    the last convolution, with Adam for the rest; or 'adam' for all, as in the paper."""
    muon_lr: float = 0.02
    """Muon's step as a share of each kernel's root mean square, in both stages; cosine decay."""
    lr: float = 2e-4
    """Adam's learning rate for weights while slimming; cosine decay over all steps of the stage."""
    recover_lr: float = 1e-3
    """The same while recovering."""
    warmup: int = 20
    """Steps in which a stage's learning rate rises to its full value."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates."""
    weight_decay: float = 0.0
    """Adam's L2 weight decay."""
    gate_lr: float = 0.1
    """Learning rate eta of the gates (SGD, as in the paper)."""
    gate_momentum: float = 0.5
    """Momentum of the gates' SGD."""
    range_lr: float = 1e-4
    """Adam's learning rate of activation ranges, relative to each range's size."""
    discriminator_lr: float = 2e-4
    """Adam's learning rate of the discriminator."""
    discriminator_width: int = 32
    """Channels of the PatchGAN's first layer (64 in the paper)."""
    replay: int = 50
    """Pictures in the replay buffer of the discriminator."""
    ema: float = 0.998
    """Decay of the moving average that becomes the final generator; 0 for none."""
    gate_start: Literal["saliency", "one"] = "saliency"
    """Gates start at what their channel contributes to the output, or all at 1."""
    floor: float = 0.75
    """No group falls below this share of the width that a uniformly narrow net would have."""
    width_multiple: int = 1
    """With a budget, cut groups keep a multiple of so many channels: 16 where an int8 kernel
    computes 16 side by side. The cost may then end several percent below the budget."""

    def __post_init__(self) -> None:
        _check(self.steps >= 1, "steps", self.steps, "at least 1")
        _check(0 < self.slim_share < 1, "slim_share", self.slim_share, "between 0 and 1")
        share = self.half_size_share
        _check(0 <= share <= 1, "half_size_share", share, "between 0 and 1")
        _check(self.batch_size is None or self.batch_size >= 1, "batch_size", self.batch_size,
               "at least 1")  # fmt: skip
        for name in ("lr", "recover_lr", "muon_lr", "gate_lr", "discriminator_lr"):
            _check(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        for name in ("warmup", "weight_decay", "range_lr", "replay"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _check(len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "betas", self.betas,
               "two numbers in [0, 1)")  # fmt: skip
        _check(0 <= self.gate_momentum < 1, "gate_momentum", self.gate_momentum, "in [0, 1)")
        width = self.discriminator_width
        _check(width >= 1, "discriminator_width", width, "at least 1")
        _check_choice(self, "gate_start", "gate_start")
        _check_choice(self, "optimizer", "optimizer")
        _check(0 <= self.ema < 1, "ema", self.ema, "in [0, 1)")
        _check(0 <= self.floor <= 1, "floor", self.floor, "in [0, 1]")
        multiple = self.width_multiple
        _check(multiple >= 1, "width_multiple", multiple, "at least 1")

    def batch(self, noise: bool = False) -> int:
        """Pictures a step, for a generator that takes noise, or pictures."""
        return self.batch_size or (16 if noise else 2)


@dataclass(frozen=True)
class Run:
    """Everything that a run depends on besides its teacher and its pictures."""

    budget: Budget = field(default_factory=Budget)
    objective: Objective = field(default_factory=Objective)
    optimisation: Optimisation = field(default_factory=Optimisation)
    bits: int | None = 8
    """Bits of activations and of weights; None for no quantisation."""
    weight_bits: int | None = None
    """Bits of weights; None takes `bits`, but at most 7: then int8 kernels are exact on any CPU."""
    activation_range: float | None = None
    """The paper's fixed range [0, p] of activations; None calibrates and learns each."""
    quantize_outputs: bool = False
    """Whether what convolutions give is rounded to `bits`, too, as ONNX Runtime's quick kernels do;
    the last ones stay exact."""
    size: int = 256
    """Pictures are trained at size x size pixels; where noise is fed, the generator decides."""
    latents: int = 10_000
    """Noise vectors trained on, each with its class if it has one; for generators of noise."""
    holdout: int | None = None
    """Kept from training, to track quality on; None for 16, or a fifth of fewer than 80."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: str = "auto"
    """auto, 32-true or bf16-mixed; auto takes bf16 where the machine and the generator can."""
    threads: int | None = None
    """CPU threads; None measures whether one or all are faster, and keeps to it on resuming."""
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.bits is None or 2 <= self.bits <= 8, "bits", self.bits, "2 to 8, or none")
        w = self.weight_bits
        _check(w is None or 2 <= w <= 8, "weight_bits", w, "2 to 8")
        p = self.activation_range
        _check(p is None or p > 0, "activation_range", p, "above 0, such as the paper's 4")
        if self.quantize_outputs and self.bits is None:
            raise UserError("quantize_outputs needs bits, such as 8; got none")
        _check(self.size >= 32, "size", self.size, "at least 32 pixels")
        _check(self.latents >= 1, "latents", self.latents, "at least 1")
        _check(self.holdout is None or self.holdout >= 1, "holdout", self.holdout, "at least 1")
        _check(self.threads is None or self.threads >= 1, "threads", self.threads, "at least 1")
        if self.budget.kind is not None and self.objective.rho is not None:
            raise UserError("name a budget or rho, not both: with a budget, rho follows from it")


def bits_of_weights(bits: int, weight_bits: int | None) -> int:
    """How many bits weights have: what was asked for, or what is exact on every CPU."""
    return weight_bits if weight_bits is not None else min(bits, PORTABLE_WEIGHT_BITS)


def _check_choice(settings: object, field_name: str, name: str) -> None:
    choices = get_args(get_type_hints(type(settings))[field_name])
    value = getattr(settings, field_name)
    _check(value in choices, name, value, f"one of {', '.join(choices)}")


def _check(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise UserError(f"{name} must be {expected}, got {value}")
