"""The families by name, and one example input of each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tests.families import noise, restoration, translation
from torch import Tensor, nn

from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.models.registry import infer_spec

SIZE = 128
"""Side in pixels of the images."""
FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "ResNet (CycleGAN)": translation.resnet,
    "U-Net (pix2pix)": translation.unet,
    "MobileNet (CycleGAN, separable)": translation.mobile,
    "attention GAN, AdaLIN (U-GAT-IT)": translation.Ugatit,
    "label as input (StarGAN)": translation.StarGan,
    "AdaIN (MUNIT)": translation.Munit,
    "RRDB (ESRGAN)": restoration.rrdb,
    "SRVGG (Real-ESRGAN)": restoration.Srvgg,
    "SPADE": restoration.Spade,
    "gated inpainting (DeepFill 2)": restoration.GatedInpainting,
    "FFT inpainting (LaMa)": restoration.FourierInpainting,
    "transformer (SwinIR)": restoration.Transformer,
    "ProGAN": noise.ProGan,
    "StyleGAN2": noise.StyleGan2,
    "self-attention (SAGAN)": noise.SaGan,
    "BigGAN": noise.BigGan,
}


def factory_of(family: str) -> str:
    """Return what --generator takes, module:factory."""
    made = FAMILIES[family]
    return f"{made.__module__}:{made.__name__}"


def teacher_of(family: str) -> nn.Module:
    """Return the generator with random weights, in evaluation mode."""
    torch.manual_seed(1)
    return FAMILIES[family]().eval()


def example_of(module: nn.Module, size: int = SIZE) -> tuple[Tensor, ...]:
    """Return its inputs for one image, in its own precision."""
    return dummy_inputs(infer_spec(module).contract, size, like=module)
