"""Perceptual losses against slow references, at equality, and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.losses.perceptual import (
    content_and_gram,
    gram,
    multiscale_l1,
    paper_perceptual,
)


class TwoLayers(nn.Module):
    """A feature network small enough to reason about."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        first = self.first(images).relu()
        return {"first": first, "second": self.second(first).relu()}


Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "paper": lambda s, t: paper_perceptual(s, t, TwoLayers()),
    "relative": lambda s, t: content_and_gram(s, t, TwoLayers()),
    "pixels": multiscale_l1,
}


def _images(seed: int, batch: int = 2, side: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((batch, 3, side, side), generator=generator) * 2 - 1


def test_gram_equals_a_naive_loop() -> None:
    features = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    expected = torch.zeros(2, 3, 3, dtype=torch.float64)
    for image in range(2):
        for i in range(3):
            for j in range(3):
                for row in range(4):
                    for column in range(5):
                        expected[image, i, j] += (
                            features[image, i, row, column] * features[image, j, row, column]
                        )
    torch.testing.assert_close(gram(features), expected / (3 * 4 * 5))


def test_gram_is_float32_under_autocast() -> None:
    features = torch.rand(1, 8, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = gram(features)
        known_wrong = features.flatten(2) @ features.flatten(2).transpose(1, 2)
    assert known_wrong.dtype == torch.bfloat16
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, gram(features))


def test_gram_takes_channels_last() -> None:
    features = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(
        gram(features.contiguous(memory_format=torch.channels_last)), gram(features)
    )


def test_paper_perceptual_equals_its_equation() -> None:
    student, teacher, network = _images(0), _images(1), TwoLayers()
    s, t = network((student + 1) / 2), network((teacher + 1) / 2)
    expected = (s["first"] - t["first"]).abs().mean()
    for layer in ("first", "second"):
        expected = expected + 1e5 * (gram(s[layer]) - gram(t[layer])).square().mean()
    torch.testing.assert_close(paper_perceptual(student, teacher, network), expected)


def test_relative_loss_does_not_depend_on_the_networks_scale() -> None:
    student, teacher, network = _images(0), _images(1), TwoLayers()

    def louder(images: Tensor) -> Mapping[str, Tensor]:
        return {name: 100 * features for name, features in network(images).items()}

    torch.testing.assert_close(
        content_and_gram(student, teacher, louder), content_and_gram(student, teacher, network)
    )


def test_relative_loss_of_zero_features_is_the_sum_of_its_weights() -> None:
    def brightness(images: Tensor) -> Mapping[str, Tensor]:
        return {"pixels": images}

    black = torch.full((2, 3, 8, 8), -1.0)
    loss = content_and_gram(black, _images(1, side=8), brightness, 2.0, 0.5)
    assert loss.item() == pytest.approx(2.5)


@pytest.mark.parametrize("name", ["relative", "pixels"])
def test_loss_of_a_batch_is_the_mean_over_its_images(name: str) -> None:
    student, teacher = _images(0), _images(1)
    single = [LOSSES[name](student[i : i + 1], teacher[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(LOSSES[name](student, teacher), torch.stack(single).mean())


def test_multiscale_l1_of_a_constant_shift() -> None:
    teacher = _images(0, side=16) * 0.5
    # No gradient differs, so only the shift itself remains: 0.4 in [-1, 1] is 0.2 in [0, 1].
    assert multiscale_l1(teacher + 0.4, teacher).item() == pytest.approx(0.2, rel=1e-5)


def test_multiscale_l1_of_a_checkerboard_vanishes_at_coarse_scales() -> None:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = ((rows + columns) % 2 * 2 - 1).float().expand(1, 3, 8, 8)
    # Finest level: |±1|/2 = 0.5 in pixels, 1 in each direction's difference; averaged away above.
    assert multiscale_l1(board, torch.zeros(1, 3, 8, 8), scales=2).item() == pytest.approx(1.25)


def test_multiscale_l1_leaves_out_levels_that_are_too_small() -> None:
    student, teacher = _images(0, side=6), _images(1, side=6)
    assert multiscale_l1(student, teacher, scales=9).item() == pytest.approx(
        multiscale_l1(student, teacher, scales=2).item()
    )


@pytest.mark.parametrize("name", LOSSES)
def test_zero_at_equality_and_positive_elsewhere(name: str) -> None:
    image = _images(0)
    assert LOSSES[name](image, image.clone()).item() == 0
    assert LOSSES[name](image, _images(1)).item() > 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("teacher_seed", [0, 1])
def test_only_the_student_gets_a_finite_gradient(name: str, teacher_seed: int) -> None:
    student = _images(0).requires_grad_()
    teacher = _images(teacher_seed).requires_grad_()
    LOSSES[name](student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert bool(student.grad.any()) == (teacher_seed == 1)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_float32_under_autocast(name: str) -> None:
    student, teacher = _images(0), _images(1)
    exact = LOSSES[name](student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = LOSSES[name](student, teacher)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.05)
