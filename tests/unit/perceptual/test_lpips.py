"""LPIPS against a slow reference that follows the original step by step. Random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_slimming.errors import UserError
from gan_slimming.perceptual.features import SqueezeNetFeatures
from gan_slimming.perceptual.lpips import Lpips, load_lpips


def squeezenet_state() -> dict[str, Tensor]:
    """Random weights under torchvision's names, of a size that keeps activations alive."""
    torch.manual_seed(0)
    shapes = {"features.0": (64, 3, 3)}
    fires = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128)}
    fires |= {9: (256, 48, 192), 10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}
    for number, (inputs, squeeze, expand) in fires.items():
        shapes[f"features.{number}.squeeze"] = (squeeze, inputs, 1)
        shapes[f"features.{number}.expand1x1"] = (expand, squeeze, 1)
        shapes[f"features.{number}.expand3x3"] = (expand, squeeze, 3)
    state = {}
    for name, (outputs, inputs, side) in shapes.items():
        scale = (2 / (inputs * side**2)) ** 0.5
        state[f"{name}.weight"] = torch.randn(outputs, inputs, side, side) * scale
        state[f"{name}.bias"] = torch.zeros(outputs)
    return state


def linear_state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    widths = (64, 128, 256, 384, 384, 512, 512)
    return {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1) for i, w in enumerate(widths)}


@pytest.fixture(scope="module")
def metric() -> Lpips:
    return Lpips(SqueezeNetFeatures(squeezenet_state()), linear_state())


def _images(seed: int) -> Tensor:
    return torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def _reference(metric: Lpips, first: Tensor, second: Tensor) -> Tensor:
    """The original's steps, with its own scaling layer on [-1, 1]."""
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1)
    weights = list(linear_state().values())
    total, layer = torch.zeros(first.shape[0]), 0
    a, b = (first - shift) / scale, (second - shift) / scale
    for number, module in enumerate(metric.features.features):
        a, b = module(a), module(b)
        if number in (1, 4, 7, 9, 10, 11, 12):
            unit_a = a / (a.square().sum(1, keepdim=True).sqrt() + 1e-10)
            unit_b = b / (b.square().sum(1, keepdim=True).sqrt() + 1e-10)
            weighted = torch.conv2d((unit_a - unit_b) ** 2, weights[layer])
            total = total + weighted.mean(dim=(1, 2, 3))
            layer += 1
    return total


def test_equals_the_reference(metric: Lpips) -> None:
    first, second = _images(0), _images(1)
    distance = metric(first, second)
    assert distance.shape == (2,)
    torch.testing.assert_close(distance, _reference(metric, first, second), rtol=1e-4, atol=1e-6)


def test_zero_when_equal_symmetric_and_per_image(metric: Lpips) -> None:
    first, second = _images(0), _images(1)
    assert metric(first, first.clone()).tolist() == [0.0, 0.0]
    torch.testing.assert_close(metric(first, second), metric(second, first))
    torch.testing.assert_close(metric(first[1:], second[1:]), metric(first, second)[1:])


def test_gradient_is_finite_also_where_features_are_dead(metric: Lpips) -> None:
    # The image that the normalisation maps to 0 gives, with these biases, features of length 0.
    dead = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(2, 3, 48, 48) * 2 - 1
    for start in (_images(0), dead):
        student = start.clone().requires_grad_()
        metric(student, _images(1)).sum().backward()
        assert student.grad is not None
        assert student.grad.isfinite().all()
    live = _images(0).requires_grad_()
    metric(live, _images(1)).sum().backward()
    assert live.grad is not None
    assert live.grad.any()


def test_frozen(metric: Lpips) -> None:
    metric.train()
    assert not any(module.training for module in metric.modules())
    assert not any(parameter.requires_grad for parameter in metric.parameters())


def test_float32_and_close_under_autocast(metric: Lpips) -> None:
    first, second = _images(0), _images(1)
    exact = metric(first, second)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = metric(first, second)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0)


def test_unfit_linear_weights_are_named() -> None:
    features = SqueezeNetFeatures(squeezenet_state())
    with pytest.raises(UserError, match=r"'lin0.model.1.weight' of shape \(1, 64, 1, 1\)"):
        Lpips(features, {})


def test_load_from_a_folder(tmp_path: Path, metric: Lpips) -> None:
    with pytest.raises(UserError, match=r"no squeezenet1_1-b8a52dc0.pth or .* in "):
        load_lpips(tmp_path)
    torch.save(squeezenet_state(), tmp_path / "squeezenet1_1-b8a52dc0.pth")
    torch.save(linear_state(), tmp_path / "lpips_v0.1_squeeze.pth")
    first, second = _images(0), _images(1)
    assert torch.equal(load_lpips(tmp_path)(first, second), metric(first, second))
