"""Quantisers in training: levels, signs, calibration, gradients, agreement with true integers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan_slimming.quantization.affine import quantize, weight_scale
from gan_slimming.quantization.fake_quant import (
    ActivationQuantizer,
    OutputQuantizer,
    WeightQuantizer,
    best_scale,
)
from gan_slimming.student.layers import SlimConvolution, to_slim


def calibrated(values: torch.Tensor, bits: int = 8) -> ActivationQuantizer:
    quantizer = ActivationQuantizer(bits)
    quantizer.start_observing()
    quantizer(values)
    quantizer.stop_observing()
    return quantizer


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_an_activation_takes_at_most_two_to_the_bits_levels(bits: int, shift: float) -> None:
    values = torch.randn(20_000) + shift
    out = calibrated(values.abs() if shift else values, bits)(values)
    assert 2 ** (bits - 1) < len(out.unique()) <= 2**bits


def test_the_sign_follows_the_data() -> None:
    positive, signed = torch.rand(1000), torch.randn(1000)
    assert calibrated(positive).codes == (0, 255)
    assert calibrated(signed).codes == (-128, 127)


def test_a_negative_value_in_a_later_batch_makes_it_signed_and_keeps_the_range() -> None:
    quantizer = ActivationQuantizer(8)
    quantizer.start_observing()
    quantizer(torch.linspace(0, 10, 1000))
    reach = float(quantizer.scale.detach()) * 255
    quantizer(torch.tensor([-0.1, 0.1]))
    quantizer.stop_observing()
    assert quantizer.codes == (-128, 127)
    assert float(quantizer.scale.detach()) * 127 == pytest.approx(reach, rel=1e-6)


def test_observing_passes_values_through_untouched() -> None:
    quantizer = ActivationQuantizer(2)
    quantizer.start_observing()
    values = torch.randn(100)
    assert torch.equal(quantizer(values), values)


def test_the_fixed_range_of_the_paper_clamps_and_never_moves() -> None:
    quantizer = ActivationQuantizer(8, fixed_range=4.0)
    quantizer.observe(torch.randn(100) * 50)
    out = quantizer(torch.tensor([-1.0, 2.0, 9.0]))
    assert out.tolist() == pytest.approx([0.0, 2.0, 4.0], abs=4 / 255)
    assert not quantizer.scale.requires_grad
    assert not quantizer.signed


@pytest.mark.parametrize("bits", [4, 8])
def test_the_best_scale_has_less_error_than_the_maximums(bits: int) -> None:
    values = torch.randn(50_000)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def error(scale: torch.Tensor) -> float:
        return float((quantize(values, scale, low, high) * scale - values).square().mean())

    assert error(best_scale(values, low, high)) < 0.99 * error(values.abs().max() / high)


def test_the_scale_of_nothing_is_positive() -> None:
    assert float(best_scale(torch.zeros(10), 0, 255)) > 0


def test_gradients_pass_inside_the_range_and_stop_outside() -> None:
    quantizer = ActivationQuantizer(8)
    values = torch.tensor([0.3, -200.0, 200.0], requires_grad=True)
    quantizer(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 0.0, 0.0]


def test_the_gradient_of_the_scale_is_that_of_the_step_size_paper() -> None:
    quantizer = ActivationQuantizer(4)
    values = torch.tensor([0.3, -20.0, 20.0, 2.7])
    weights = torch.tensor([1.0, 2.0, 3.0, -1.0])
    (quantizer(values) * weights).sum().backward()
    expected = 1 * (0 - 0.3) + 2 * -8 + 3 * 7 - 1 * (3 - 2.7)
    assert quantizer.scale.grad is not None
    assert float(quantizer.scale.grad) == pytest.approx(expected / (4 * 7) ** 0.5, rel=1e-5)


def test_the_sign_travels_with_the_state() -> None:
    source, copy = calibrated(torch.rand(100)), ActivationQuantizer(8)
    copy.load_state_dict(source.state_dict())
    assert copy.codes == (0, 255)
    assert torch.equal(copy.scale, source.scale)


def test_a_weight_in_training_follows_its_scale_and_stays_put_in_evaluation() -> None:
    weight = torch.randn(4, 3, 2, 2, requires_grad=True)
    quantizer = WeightQuantizer(weight, 0, 8)
    with torch.no_grad():
        weight *= 2
    before = quantizer.scale.clone()
    quantizer.eval()
    quantizer(weight)
    assert torch.equal(quantizer.scale, before)
    quantizer.train()
    quantizer(weight).sum().backward()
    assert torch.allclose(quantizer.scale, 2 * before)
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.ones_like(weight))


@pytest.mark.parametrize("bits", [2, 8])
def test_a_weight_takes_an_odd_number_of_levels_per_channel(bits: int) -> None:
    weight = torch.randn(3, 20_000)
    quantizer = WeightQuantizer(weight, 0, bits)
    levels = [len(row.unique()) for row in quantizer(weight)]
    assert max(levels) <= 2**bits - 1
    assert quantizer.codes == (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("layer", [nn.Conv2d(6, 5, 3, padding=1), nn.ConvTranspose2d(6, 5, 3, 2)])
def test_fake_quantisation_is_true_integer_arithmetic(
    layer: nn.Conv2d | nn.ConvTranspose2d, signed: bool
) -> None:
    slim = to_slim(layer)
    assert isinstance(slim, SlimConvolution)
    values = torch.randn(2, 6, 9, 9) if signed else torch.rand(2, 6, 9, 9)
    axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    slim.weight_quantizer = WeightQuantizer(layer.weight, axis, 8)
    slim.input_quantizer = calibrated(values)
    assert isinstance(slim, nn.Module)
    slim.eval()
    ours = slim(values)
    scale_x, scale_w = slim.input_quantizer.scale.detach(), weight_scale(layer.weight, axis, 8)
    shape = [-1 if d == axis else 1 for d in range(4)]
    x = quantize(values, scale_x, *slim.input_quantizer.codes).to(torch.int16)
    w = quantize(layer.weight.detach(), scale_w.view(shape), -127, 127).to(torch.int8)
    sums = integer_convolution(layer, x.to(torch.int32), w.to(torch.int32))
    assert layer.bias is not None
    truth = sums.double() * (scale_x * scale_w).double().view(1, -1, 1, 1)
    truth = truth + layer.bias.detach().double().view(1, -1, 1, 1)
    assert float((ours.detach() - truth).abs().max() / truth.abs().max()) < 1e-6


@pytest.mark.parametrize("layer", [nn.Conv2d(6, 5, 3, padding=1), nn.ConvTranspose2d(6, 5, 3, 2)])
def test_an_output_is_rounded_in_front_of_the_bias(layer: nn.Conv2d) -> None:
    slim = to_slim(layer)
    assert isinstance(slim, SlimConvolution)
    assert isinstance(slim, nn.Module)
    values = torch.randn(2, 6, 9, 9)
    assert layer.bias is not None
    bias = layer.bias.detach().view(-1, 1, 1)
    sums = layer(values).detach() - bias
    slim.output_quantizer = quantizer = OutputQuantizer(5, 8)
    quantizer.start_observing()
    quantizer(sums)
    quantizer.stop_observing()
    slim.eval()
    made = slim(values).detach()
    assert float((made - (quantizer(sums).detach() + bias)).abs().max()) < 1e-5
    codes = (made - bias) / quantizer.scale.view(-1, 1, 1)
    assert float((codes - codes.round()).abs().max()) < 1e-3
    assert (codes.abs().amax((0, 2, 3)) - 127).abs().max() < 1e-3  # of each channel
    values.requires_grad_(True)
    slim(values).sum().backward()
    plain = torch.autograd.grad(layer(values).sum(), values)[0]
    torch.testing.assert_close(values.grad, plain)  # straight through


def test_scales_of_outputs_follow_while_training_and_stay_in_evaluation() -> None:
    quantizer = OutputQuantizer(3, 8).train()
    sums = torch.randn(2, 3, 8, 8) * torch.tensor([1.0, 10.0, 0.0]).view(-1, 1, 1)
    needed = sums.abs().amax((0, 2, 3)) / 127
    for _ in range(100):
        quantizer(sums)
    torch.testing.assert_close(quantizer.scale, needed, rtol=1e-3, atol=1e-4)
    before = quantizer.eval().scale.clone()
    assert float(quantizer(9 * sums).abs().max()) <= float(128 * before.max())
    assert torch.equal(quantizer.scale, before)
    assert bool((quantizer(torch.zeros(1, 3, 2, 2)) == 0).all())


def integer_convolution(
    layer: nn.Conv2d | nn.ConvTranspose2d, x: torch.Tensor, w: torch.Tensor
) -> torch.Tensor:
    """The convolution in int32, tap by tap; a transposed one as a sum of shifted copies."""
    if isinstance(layer, nn.ConvTranspose2d):
        out = torch.zeros(2, 5, 19, 19, dtype=torch.int32)
        for i in range(3):
            for j in range(3):
                tap = (x[:, :, None] * w[None, :, :, i, j, None, None]).sum(1, dtype=torch.int32)
                out[:, :, i : i + 17 : 2, j : j + 17 : 2] += tap
        return out
    padded = F.pad(x, (1, 1, 1, 1))
    taps = [
        (padded[:, None, :, i : i + 9, j : j + 9] * w[None, :, :, i, j, None, None]).sum(2)
        for i in range(3)
        for j in range(3)
    ]
    return torch.stack(taps).sum(0, dtype=torch.int32)


def slow_best_scale(values: torch.Tensor, low: int, high: int) -> float:
    """The fraction of the largest value, of 24, with the least error."""
    top = float(values.abs().max()) / high
    scales = [top * (0.4 + 0.6 * n / 23) for n in range(24)]
    errors = [float((quantize(values, s, low, high) * s - values).square().mean()) for s in scales]
    return scales[errors.index(min(errors))]


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e3])
@pytest.mark.parametrize(("low", "high"), [(0, 15), (-8, 7), (-2, 1)])
def test_the_best_scale_is_that_of_the_slow_search(low: int, high: int, size: float) -> None:
    values = (torch.randn(5000) if low else torch.rand(5000) ** 3) * size
    assert float(best_scale(values, low, high)) == pytest.approx(slow_best_scale(values, low, high))


def test_large_tensors_are_sampled_evenly_but_for_their_largest_value() -> None:
    values = torch.zeros(4 * 65536)
    values[::4] = torch.rand(65536)
    values[1] = -20.0  # not in the sample
    expected = slow_best_scale(torch.cat([values[::4], values[1:2]]), -128, 127)
    found = float(best_scale(values, -128, 127))
    assert found == pytest.approx(20 * 0.4 / 127)
    assert found <= expected


def test_calibration_keeps_the_largest_range_of_all_batches() -> None:
    values = torch.rand(2, 3, 4, 4) + 0.5
    sizes = 1.0, 8.0, 2.0
    output, activation = OutputQuantizer(3, 8), ActivationQuantizer(8)
    for quantizer in (output, activation):
        for _ in range(2):  # the second calibration starts anew
            quantizer.start_observing()
            for size in sizes:
                quantizer(values * size)
            largest = quantizer.scale.detach().clone()
            quantizer.start_observing()
            quantizer(values)
            quantizer.stop_observing()
            torch.testing.assert_close(largest, 8 * quantizer.scale.detach())
    torch.testing.assert_close(output.scale, values.amax((0, 2, 3)) / 127)


def test_outputs_follow_by_a_tenth_of_the_way() -> None:
    quantizer = OutputQuantizer(2, 8, dims=1).train()
    quantizer(torch.full((1, 2, 5), 254.0))
    assert quantizer.scale.tolist() == pytest.approx([1.1, 1.1])
    assert quantizer.scale.dtype == torch.float32
    quantizer(torch.full((1, 2, 5), 254.0, dtype=torch.float64))
    assert quantizer.scale.tolist() == pytest.approx([1.19, 1.19])


def test_sums_of_half_precision_are_made_in_float32() -> None:
    """The gradient of a scale sums as many products as there are values."""
    quantizer = ActivationQuantizer(8)
    values = torch.full((40_000,), 300.0, dtype=torch.bfloat16)
    quantizer(values).sum().backward()
    assert quantizer.scale.grad is not None
    expected = 40_000 * 127 / (40_000 * 127) ** 0.5
    assert float(quantizer.scale.grad) == pytest.approx(expected, rel=1e-3)


def test_quantisers_say_what_they_are() -> None:
    weight = torch.randn(4, 3)
    assert WeightQuantizer(weight, 1, 4).extra_repr() == "bits=4, axis=1"
    assert OutputQuantizer(3, 8).extra_repr() == "bits=8"


def test_the_gradient_of_a_scale_in_float64_is_summed_in_float64() -> None:
    quantizer = ActivationQuantizer(4).double()
    values = torch.rand(1000, dtype=torch.float64) * 6
    quantizer(values).sum().backward()
    assert quantizer.scale.grad is not None
    expected = (values.round() - values).sum() / (1000 * 7) ** 0.5
    assert float(quantizer.scale.grad) == pytest.approx(float(expected), rel=1e-12)


def test_under_autocast_values_are_rounded_in_its_type() -> None:
    quantizer = ActivationQuantizer(4)
    with torch.autocast("cpu", torch.bfloat16):
        made = quantizer(torch.tensor([0.3, 2.7, -20.0]))
    assert made.dtype == torch.bfloat16
    assert made.tolist() == [0.0, 3.0, -8.0]


def test_a_sign_that_was_saved_overrules_the_one_at_hand() -> None:
    source, copy = ActivationQuantizer(8), ActivationQuantizer(8, signed=False)
    copy.load_state_dict(source.state_dict())
    assert copy.codes == (-128, 127)
