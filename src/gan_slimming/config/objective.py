"""The settings of the objective: its terms and their weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gan_slimming.config.checks import MOST_SIDE, check, check_between, check_choice, check_finite
from gan_slimming.config.old_names import taking_old_names


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
