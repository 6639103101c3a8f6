"""What a generator can do, found by running it; it is left as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.config import InputContract, Run
from gan_slimming.errors import UserError
from gan_slimming.training.device import make_fabric
from gan_slimming.training.trials import (
    channels_last,
    no_bfloat16,
    prefer_channels_last,
    takes_side,
)

CONTRACT = InputContract()


class Middle(nn.Module):
    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)
        self.operation = operation
        self.register_buffer("kernels", torch.ones(6, 1, 3, 3, 3))  # of five axes
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.operation(self.first(x)))


def grouped(x: Tensor) -> Tensor:
    """View activations as the StyleGAN2 family does: plain tensors only."""
    return x.view(1, -1, x.shape[2], x.shape[3]).view(x.shape)


class BackwardViews(torch.autograd.Function):
    """A function whose backward alone needs a plain tensor."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # pyright: ignore
        return gradient.view(-1).view(gradient.shape) * 2


def twice(x: Tensor) -> Tensor:
    return BackwardViews.apply(x)  # pyright: ignore


def layout(net: nn.Module) -> set[bool]:
    weights = (p for p in net.parameters() if p.dim() == 4)
    return {p.is_contiguous(memory_format=torch.channels_last) for p in weights}


@pytest.mark.parametrize(("operation", "taken"), [(F.relu, True), (grouped, False), (twice, False)])
def test_channels_last_is_taken_where_a_forward_and_a_backward_run(
    operation: Callable[[Tensor], Tensor], taken: bool
) -> None:
    torch.manual_seed(0)
    net, image = Middle(operation), torch.rand(2, 3, 16, 16)
    expected, random = net(image), torch.get_rng_state()
    assert prefer_channels_last(net, CONTRACT, 16) == taken
    assert layout(net) == {taken}
    assert not any(p.requires_grad or p.grad is not None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    torch.testing.assert_close(net(channels_last(image) if taken else image), expected)


class Float32(torch.autograd.Function):
    """A function whose backward alone takes float32, as hand-written kernels do."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # pyright: ignore
        if gradient.dtype != torch.float32:
            raise RuntimeError(f"expected float32, got {gradient.dtype}\nand a second line")
        return gradient * 2


def test_what_bfloat16_breaks_is_told_and_the_rest_is_nothing() -> None:
    image = (torch.rand(1, 3, 15, 15),)
    assert no_bfloat16(Middle(F.relu), image, "cpu") == ""
    net = Middle(lambda x: Float32.apply(x))  # pyright: ignore
    assert no_bfloat16(net, image, "cpu") == "expected float32, got torch.bfloat16"
    assert not any(p.requires_grad for p in net.parameters())
    with pytest.raises(UserError, match=r"does not compute in bf16-mixed \(expected float32"):
        make_fabric(Run(device="cpu", precision="bf16-mixed"), net, image)
    assert make_fabric(Run(device="cpu"), net, image) is not None


def test_sizes_are_tried() -> None:
    fixed = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(768, 768))
    fixed.append(nn.Unflatten(1, (3, 16, 16)))
    assert takes_side(fixed, CONTRACT, 16)
    assert not takes_side(fixed, CONTRACT, 32)
    assert takes_side(nn.Upsample(scale_factor=2), InputContract(scale=2), 8)
    assert not takes_side(nn.Upsample(scale_factor=2), CONTRACT, 8)


def test_vectors_have_no_layout() -> None:
    latents, image = torch.rand(2, 5), torch.rand(2, 3, 4, 4)
    assert channels_last(latents) is latents
    assert channels_last(image).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(channels_last(image), image)
