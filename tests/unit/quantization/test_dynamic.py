"""Quantisation without state, for discriminators."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_slimming.models.patchgan import PatchDiscriminator
from gan_slimming.quantization.affine import along
from gan_slimming.quantization.dynamic import _InputRounding, quantize_layers


def weight_of(layer: nn.Module) -> Tensor:
    """Return a copy of a layer's weight, as its forward takes it."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach().clone()


def test_weights_lie_on_a_grid_of_each_channel_and_stay_trainable_in_full() -> None:
    layer = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    whole = weight_of(layer[0])
    quantize_layers(layer, 4)
    weight = weight_of(layer[0])
    steps = whole.abs().amax(dim=(1, 2, 3)) / 7
    codes = weight / steps.view(-1, 1, 1, 1)
    assert torch.allclose(codes, codes.round(), atol=1e-4)
    assert codes.abs().max() <= 7.001
    original = dict(layer.named_parameters())["0.parametrizations.weight.original"]
    assert torch.equal(original, whole)


def test_fewer_bits_are_further_from_the_network() -> None:
    torch.manual_seed(0)
    network, images = PatchDiscriminator(4, 2).eval(), torch.rand(2, 3, 32, 32) * 2 - 1
    errors = []
    for bits in (8, 4, 2):
        quantized = copy.deepcopy(network)
        quantize_layers(quantized, bits)
        errors.append(float((quantized(images) - network(images)).detach().abs().mean()))
    assert 0 < errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3)])
def test_gradients_reach_the_weights_and_the_image(layer: nn.Module) -> None:
    quantize_layers(layer, 8)
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    layer(images).square().mean().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in layer.parameters())


def test_spectral_norm_comes_first() -> None:
    layer = spectral_norm(nn.Linear(6, 5)).eval()
    expected = weight_of(layer)
    quantize_layers(layer, 8)
    error = (weight_of(layer) - expected).abs().amax(dim=1)
    assert (error <= expected.abs().amax(dim=1) / 127 / 2 + 1e-6).all()


def test_a_batch_of_zeros_stays_finite() -> None:
    layer = nn.Linear(3, 2)
    quantize_layers(layer, 8)
    assert layer(torch.zeros(1, 3)).isfinite().all()


@pytest.mark.parametrize(
    ("layer", "axis"),
    [(nn.Conv2d(3, 4, 2), 0), (nn.ConvTranspose2d(3, 4, 2), 1), (nn.Linear(3, 4), 0)],
)
def test_each_output_channel_has_its_own_scale(layer: nn.Module, axis: int) -> None:
    whole = weight_of(layer)
    quantize_layers(layer, 4)
    steps = along(whole.transpose(0, axis).flatten(1).abs().amax(dim=1) / 7, axis, whole.dim())
    torch.testing.assert_close(weight_of(layer), (whole / steps).round() * steps)


@pytest.mark.parametrize(("bits", "codes"), [(8, 127), (4, 7), (2, 1)])
def test_inputs_lie_on_a_grid_that_ends_at_the_largest_of_the_batch(bits: int, codes: int) -> None:
    """The most negative code stays unused; other arguments pass as they are."""
    seen = []

    class Last(nn.Linear):
        def forward(self, input: Tensor, more: str = "") -> Tensor:
            seen.append((input, more))
            return super().forward(input)

    layer = Last(6, 2)
    quantize_layers(layer, bits)
    values = torch.linspace(-3, 2, 30).view(5, 6)
    layer(values, "kept")
    step = 3 / codes
    torch.testing.assert_close(seen[0][0], (values / step).round() * step)
    assert seen[0][1] == "kept"


def test_small_inputs_keep_their_grid() -> None:
    hook = _InputRounding(8)
    values = torch.tensor([[-1e-6, 4e-7]])
    torch.testing.assert_close(hook(nn.Identity(), (values,))[0], values, atol=5e-9, rtol=0)
