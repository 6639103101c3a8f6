"""The teacher's own first layers as features."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.data.inputs import Inputs
from gan_slimming.losses.encoder import EncoderFeatures
from gan_slimming.losses.perceptual import content_and_gram
from gan_slimming.models import CartoonGenerator


class Unreachable(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        raise AssertionError("the network ran on after its last wanted layer")


def net() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2), nn.ReLU()),
        *(nn.Conv2d(5, 6, 1), Unreachable()),
    )


def plain(images: Tensor) -> Inputs:
    return (images,)


def test_the_first_convolutions_answer_in_order_and_the_rest_does_not_run() -> None:
    features = EncoderFeatures(net(), plain, depth=3)
    maps = features(torch.rand(2, 3, 9, 9))
    assert list(maps) == ["0", "2", "4"]
    assert [tuple(m.shape) for m in maps.values()] == [(2, 4, 7, 7), (2, 5, 3, 3), (2, 6, 3, 3)]
    with pytest.raises(AssertionError, match="ran on"):
        EncoderFeatures(net(), plain, depth=4)(torch.rand(1, 3, 9, 9))


def test_maps_are_what_the_generator_computes_in_its_own_convention() -> None:
    generator = net()
    features = EncoderFeatures(generator, lambda x: (x.flip(1) * 2,), depth=1)
    image = torch.rand(1, 3, 6, 6)
    expected = generator[0]((image * 2 - 1).flip(1) * 2)
    torch.testing.assert_close(features(image)["0"], expected)


def test_further_inputs_of_the_generator_are_given_to_it() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 1)

        def forward(self, images: Tensor, mask: Tensor) -> Tensor:
            return self.first(images * mask)

    generator, image = Masked(), torch.rand(1, 3, 6, 6)
    mask = (torch.rand(1, 1, 6, 6) > 0.5).float()
    maps = EncoderFeatures(generator, lambda x: (x, mask), depth=1)(image)
    torch.testing.assert_close(maps["first"], generator(image * 2 - 1, mask))


def test_the_generator_itself_is_left_alone(tiny_cartoongan: CartoonGenerator) -> None:
    tiny_cartoongan.train()
    before = copy.deepcopy(tiny_cartoongan.state_dict())
    features = EncoderFeatures(tiny_cartoongan, plain).train()
    assert not any(module.training for module in features.modules())
    assert not any(p.requires_grad for p in features.parameters())
    assert len(features(torch.rand(1, 3, 16, 16))) == 5
    assert tiny_cartoongan.training
    assert all(p.requires_grad for p in tiny_cartoongan.parameters())
    assert not any(m._forward_hooks for m in tiny_cartoongan.modules())
    assert all(torch.equal(v, before[k]) for k, v in tiny_cartoongan.state_dict().items())


def test_it_is_zero_at_equality_and_the_gradient_reaches_the_student_only(
    tiny_cartoongan: CartoonGenerator,
) -> None:
    features = EncoderFeatures(tiny_cartoongan, plain)
    teacher = (torch.rand(1, 3, 16, 16) * 2 - 1).requires_grad_()
    student = teacher.detach().clone().requires_grad_()
    assert float(content_and_gram(student, teacher, features).detach()) == 0
    moved = (student + 0.1 * torch.randn_like(student)).detach().requires_grad_()
    loss = content_and_gram(moved, teacher, features)
    loss.backward()
    assert float(loss.detach()) > 0
    assert moved.grad is not None
    assert (moved.grad.abs().sum(dim=1) > 0).all()
    assert teacher.grad is None
    assert all(p.grad is None for p in features.parameters())


def test_nothing_is_kept_between_images() -> None:
    features = EncoderFeatures(net(), plain, depth=2)
    first = features(torch.rand(1, 3, 9, 9))
    kept = {name: values.clone() for name, values in first.items()}
    features(torch.rand(2, 3, 12, 12))
    assert all(torch.equal(first[name], kept[name]) for name in kept)
    assert features._maps == {}
