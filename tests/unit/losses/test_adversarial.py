"""The GAN game's losses in closed form, and the replay buffer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_slimming.errors import UserError
from gan_slimming.losses.adversarial import (
    KINDS,
    ReplayBuffer,
    discriminator_loss,
    generator_loss,
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("lsgan", ((3 - 1) ** 2 + (-0.5 - 1) ** 2) / 2),
        ("hinge", -(3 - 0.5) / 2),
        ("minimax", (math.log(1 + math.exp(-3)) + math.log(1 + math.exp(0.5))) / 2),
    ],
)
def test_generator_loss_closed_form(kind: str, expected: float) -> None:
    assert generator_loss(kind, torch.tensor([3.0, -0.5])).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("lsgan", ((0.25 - 1) ** 2 + 0.5**2) / 2),
        ("hinge", (1 - 0.25) + (1 + 0.5)),
        ("minimax", math.log(1 + math.exp(-0.25)) + math.log(1 + math.exp(0.5))),
    ],
)
def test_discriminator_loss_closed_form(kind: str, expected: float) -> None:
    real, fake = torch.full((2, 1, 3, 3), 0.25), torch.full((2, 1, 3, 3), 0.5)
    assert discriminator_loss(kind, real, fake).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_down_moves_the_logits_the_right_way(kind: str) -> None:
    real = torch.zeros(4, requires_grad=True)
    fake = torch.zeros(4).add(0.1).requires_grad_()
    discriminator_loss(kind, real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    of_generator = torch.zeros(4, requires_grad=True)
    generator_loss(kind, of_generator).backward()
    assert of_generator.grad is not None
    assert (of_generator.grad < 0).all()


def test_minimax_stays_finite_at_large_logits() -> None:
    loss = discriminator_loss("minimax", torch.tensor([-500.0]), torch.tensor([500.0]))
    assert loss.item() == pytest.approx(1000.0)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_logits_give_a_float32_loss(kind: str) -> None:
    assert generator_loss(kind, torch.ones(2, dtype=torch.bfloat16)).dtype == torch.float32


def test_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"lsgan, hinge, minimax, got 'wgan'"):
        generator_loss("wgan", torch.zeros(1))
    with pytest.raises(UserError, match="'wgan'"):
        discriminator_loss("wgan", torch.zeros(1), torch.zeros(1))


def _image(number: int, side: int = 2) -> Tensor:
    return torch.full((1, 3, side, side), float(number))


def test_buffer_returns_what_came_until_it_is_full() -> None:
    buffer = ReplayBuffer(size=3)
    images = torch.rand(3, 3, 2, 2, requires_grad=True)
    got = buffer.exchange(images)
    assert torch.equal(got, images)
    assert not got.requires_grad
    assert len(buffer) == 3


def test_full_buffer_gives_old_images_about_half_of_the_time_and_loses_none() -> None:
    buffer = ReplayBuffer(size=5, generator=torch.Generator().manual_seed(3))
    got = [int(buffer.exchange(_image(number))[0, 0, 0, 0]) for number in range(400)]
    old = sum(answer != number for number, answer in enumerate(got))
    assert 150 < old < 250
    kept = [int(image[0, 0, 0]) for image in buffer.state_dict()["images"]]
    # The first five were returned at once and may come back once more; every other one is either
    # returned exactly once or still kept.
    assert sorted(got[5:] + kept) == list(range(400))


def test_buffer_keeps_copies() -> None:
    buffer = ReplayBuffer(size=1)
    images = _image(1)
    buffer.exchange(images)
    images.fill_(7)
    assert buffer.state_dict()["images"][0].unique().tolist() == [1.0]


def test_resumed_buffer_equals_the_uninterrupted_one() -> None:
    whole = ReplayBuffer(size=4, generator=torch.Generator().manual_seed(1))
    for number in range(20):
        whole.exchange(_image(number))
    resumed = ReplayBuffer(size=4, generator=torch.Generator().manual_seed(99))
    resumed.load_state_dict(whole.state_dict())
    for number in range(20, 60):
        assert torch.equal(whole.exchange(_image(number)), resumed.exchange(_image(number)))


def test_buffer_of_size_zero_has_no_memory() -> None:
    buffer = ReplayBuffer(size=0)
    assert all(torch.equal(buffer.exchange(_image(n)), _image(n)) for n in range(5))
    assert len(buffer) == 0


def test_buffer_survives_a_change_of_image_size() -> None:
    buffer = ReplayBuffer(size=2)
    for number in range(2):
        buffer.exchange(_image(number))
    shapes = {tuple(buffer.exchange(_image(number, side=4)).shape) for number in range(20)}
    assert shapes == {(1, 3, 4, 4)}


def test_negative_size_is_refused() -> None:
    with pytest.raises(UserError, match="got -1"):
        ReplayBuffer(size=-1)
