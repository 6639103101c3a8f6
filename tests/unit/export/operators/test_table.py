"""The table: every operator computes what torch computes, at sizes that were not traced."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from tests.unit.export.agreement import difference, kinds  # noqa: E402

from gan_slimming.errors import UserError  # noqa: E402


class Family(nn.Module):
    """Operators of one kind, their results side by side; weights are for those that have any."""

    index: Tensor

    def __init__(self, operation: Callable[[Family, Tensor], list[Tensor]]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.operation = operation
        self.vector = nn.Parameter(torch.rand(4) + 0.5)
        self.norm, self.rms = nn.LayerNorm(4), nn.RMSNorm(4)
        self.wrapped = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.register_buffer("index", torch.tensor([1, 0, 3, 2]))

    def forward(self, x: Tensor) -> Tensor:
        parts = [part.flatten(1) for part in self.operation(self, x)]
        return torch.cat(parts, 1)


def numbers(module: Family, x: Tensor) -> list[Tensor]:
    one = x.clamp(min=0.1)
    return [
        1 - x, 2 / one, x.square(), -x, +x, x.abs().sqrt(), one.log(), x.exp(), x.sin() + x.cos(),
        (3 * x).floor() + (3 * x).ceil() + (3 * x).round(), x.sign(), torch.rsqrt(one), 2**x,
        one**0.5, torch.lerp(x, one, 0.3), torch.addcmul(x, x, one, value=0.5),
        torch.addcdiv(x, x, one), torch.maximum(x, -x), torch.div(x, 0.3, rounding_mode="floor"),
        torch.add(x, one, alpha=2), torch.atan(x), torch.erf(x),
    ]  # fmt: skip


def choices(module: Family, x: Tensor) -> list[Tensor]:
    positive, small = x > 0, x.abs() <= 0.5
    limit = module.vector.view(1, -1, 1, 1) / 2
    return [
        torch.where(positive, x, 0.1 * x), x * positive, x.masked_fill(small, 2.0),
        (positive & ~small).float(), (positive | small).to(x.dtype), (x >= limit).float(),
        (x != 0).float() + (x == x).float() + (x < 0.2).float(), torch.clamp(x, max=limit),
        x.clamp(-0.5, 0.5), x.clamp_min(0.1), (10 * x).long().float(), torch.logical_not(small) * x,
    ]  # fmt: skip


def activations(module: Family, x: Tensor) -> list[Tensor]:
    return [
        F.gelu(x), F.gelu(x, approximate="tanh"), F.hardswish(x), F.hardsigmoid(x), F.mish(x),
        F.softplus(x), F.softplus(x, beta=3), F.logsigmoid(x), F.celu(x, 0.7), F.selu(x),
        F.elu(x, 0.5), F.rrelu(x), F.hardshrink(x), F.softshrink(x, 0.2), F.threshold(x, 0.1, -1),
        F.softsign(x), F.tanhshrink(x), F.softmax(x, 1), F.log_softmax(x, 1), F.silu(x),
        F.leaky_relu(x, 0.3), F.relu6(4 * x), F.hardtanh(x, -0.3, 0.4), F.glu(x, 1), F.glu(x, 2),
    ]  # fmt: skip


def reductions(module: Family, x: Tensor) -> list[Tensor]:
    x = torch.stack([x, x.flip(1)], 4)  # of five axes
    variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True)
    flat, centre = torch.std_mean(x, dim=(1, 2, 3))
    return [
        x.mean((1, 2)), x.mean(4), x.sum((2, 3)), x.sum(1, keepdim=True), x.var((2, 3)),
        x.var((1, 2), unbiased=False), x.std((2, 3), keepdim=True), x.std(4), variance, mean, flat,
        centre, x.amax((2, 3)), x.amin(1), x.max(dim=1, keepdim=True)[0], x.min(dim=2)[0],
        x / x.max() + x.mean() - x.min(), x.norm(dim=(2, 3)), F.normalize(x, dim=1), x.prod(4),
    ]  # fmt: skip


def augmentations(module: Family, x: Tensor) -> list[Tensor]:
    rows = x.permute(0, 2, 3, 1)
    left, right = x.chunk(2, 1)
    top, below = x.chunk(2, 2)
    first, second = x.split([1, 3], 1)
    return [
        x.flatten(2).transpose(1, 2), rows.movedim(-1, 1), x.swapaxes(1, 2), x.mT, x[:, None],
        x[:, 1], x[:, 1:3, ::2, 1:-1], x[..., -3:], x.narrow(1, 1, 2), x[:, module.index],
        x.index_select(1, module.index), x[:, [0, 2]], x.repeat(1, 2, 1, 1), x.tile(2, 1),
        x.repeat_interleave(2, dim=2), x.mean((2, 3), keepdim=True).expand_as(x), x.fliplr(),
        x.mean((2, 3), keepdim=True).expand(-1, -1, *x.shape[2:]), left + right, top - below,
        first * second, x.unbind(1)[2], x.tensor_split(2, 1)[0], x.split(5, 3)[1], x.roll(3, 2),
        x.roll((-2, 1), (2, 3)), torch.stack([x, -x], -1), rows.reshape(x.shape[0], -1, 4),
    ]  # fmt: skip


def sampled(module: Family, x: Tensor) -> list[Tensor]:
    grid = F.affine_grid(torch.eye(2, 3)[None], [1, 4, 9, 7], align_corners=False)
    grid = 0.8 * grid.expand(x.shape[0], -1, -1, -1)
    flow = x.permute(0, 2, 3, 1)[..., :2]
    return [
        F.grid_sample(x, grid, align_corners=False),
        F.grid_sample(x, flow, mode="nearest", padding_mode="border", align_corners=True),
        F.grid_sample(x, grid, padding_mode="reflection", align_corners=True),
    ]


def images(module: Family, x: Tensor) -> list[Tensor]:
    return [
        F.pixel_unshuffle(x, 2), F.pixel_shuffle(x, 2), F.channel_shuffle(x, 2),
        F.unfold(x, 3, padding=1), F.unfold(x, 2, stride=2, dilation=2),
        F.pad(x, (1, 2, 3, 4), mode="circular"), F.pad(x, (1, 2, 1, 1), mode="reflect"),
        F.pad(x, (1, 2, 1, 1), mode="replicate"), F.pad(x, (1, 2, 1, 1), value=3.0),
        F.pad(x, (-1, 1, -2, -1)), F.pad(x.flatten(2), (2, 1), mode="reflect"),
        module.wrapped(x), F.conv1d(x.flatten(2), torch.ones(2, 4, 3), padding=1),
        F.conv_transpose1d(x.flatten(2), torch.ones(4, 2, 3), stride=2),
    ]  # fmt: skip


def sizes(module: Family, x: Tensor) -> list[Tensor]:
    one = x.flatten(2)
    return [
        F.interpolate(x, scale_factor=2, mode=mode, align_corners=True)
        for mode in ("bilinear", "bicubic")
    ] + [
        F.interpolate(x, scale_factor=1.5, mode=mode)
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
    ] + [
        F.interpolate(x, size=(7, 9), mode="bilinear"), F.interpolate(one, scale_factor=2),
        F.interpolate(one, scale_factor=0.5, mode="linear"), F.avg_pool1d(one, 2),
        F.interpolate(x[:, :, None], scale_factor=2, mode="trilinear"), F.max_pool2d(x, 3, 2, 1),
        F.adaptive_avg_pool2d(x, 1), F.adaptive_avg_pool2d(x, (5, 1)), F.avg_pool2d(x, (2, 3)),
        F.adaptive_avg_pool2d(x, (None, 3)), F.adaptive_max_pool2d(x, 1), F.lp_pool2d(x, 2, 2),
    ]  # fmt: skip


def products(module: Family, x: Tensor) -> list[Tensor]:
    tokens = x.flatten(2).transpose(1, 2)
    low = torch.ones(4, 4).tril().bool()
    heads = tokens[:, :4]
    attend = F.scaled_dot_product_attention
    return [
        x @ x.mT, torch.einsum("b c h w, b d h w -> b c d", x, x), module.attention(tokens),
        torch.baddbmm(x[:, 0], x[:, 1] @ x[:, 2].mT, x[:, 3], beta=0.5, alpha=2),
        attend(heads, heads, heads, low), attend(heads, heads, heads, low * 1.5, scale=0.3),
        F.linear(tokens, x.mean((0, 2, 3)).expand(3, 4)), tokens @ module.vector,
        module.vector @ x.flatten(2), x[:, 0] @ x.mean((0, 1, 2)),
    ]  # fmt: skip


def norms(module: Family, x: Tensor) -> list[Tensor]:
    rows, style = x.permute(0, 2, 3, 1), x.mean((0, 2, 3))
    return [
        module.norm(rows), module.rms(rows), F.layer_norm(rows, [4]), F.layer_norm(x, x.shape[1:]),
        F.instance_norm(x, weight=style, bias=style + 1), F.group_norm(x, 2, style, style),
        F.group_norm(x, 2), F.batch_norm(x, module.vector.detach(), module.vector.detach(), style),
        F.prelu(x, style), F.local_response_norm(x, 2), F.batch_norm(x, None, None, training=True),
        F.batch_norm(x, None, None, style, module.vector, training=True, eps=0.1),
    ]  # fmt: skip


def made(module: Family, x: Tensor) -> list[Tensor]:
    height, width = x.shape[2:]
    down, right = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    over = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")[0]
    return [
        x + torch.zeros(1, 4, height, 1), torch.zeros_like(x) + torch.ones_like(x[:, :1]),
        x + x.new_zeros(x.shape), x + torch.full((1, 1, 1, width), 2.0), (x + down) * right + over,
        x * torch.linspace(-1, 1, width), x + torch.arange(1, 2 * height, 2)[:, None],
        x * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, -1, 1, 1), x * torch.linspace(0, 1, 4)[0],
    ]  # fmt: skip


FAMILIES = (
    numbers,
    choices,
    activations,
    reductions,
    augmentations,
    images,
    sizes,
    products,
    norms,
    made,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_torch_computes(family: Callable[[Family, Tensor], list[Tensor]]) -> None:
    assert difference(Family(family)) < 1e-4


@pytest.mark.parametrize("family", [reductions, sampled])
def test_operators_that_newer_opsets_write_otherwise(
    family: Callable[[Family, Tensor], list[Tensor]],
) -> None:
    assert difference(Family(family), opset=21) < 1e-4


class Equalised(nn.Module):
    """Weights that are computed from parameters, a blur by a buffer, a fixed ramp."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(6, 4, 3, 3)), nn.Parameter(torch.ones(6))
        self.register_buffer("kernel", torch.tensor([1.0, 2.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weight * 0.2, self.bias * 3, padding=1)
        blur = torch.outer(self.kernel, self.kernel).expand(6, 1, 3, 3) / 16
        x = F.conv2d(x, blur.flip([2, 3]), padding=1, groups=x.shape[1])
        return x * torch.linspace(0, 1, 6).view(1, -1, 1, 1)


def test_what_is_computed_from_parameters_alone_is_computed_once() -> None:
    assert kinds(Equalised()) == ["Conv", "Conv", "Mul", "Identity"]
    assert difference(Equalised()) < 1e-5


class Tied(nn.Module):
    """One weight for a convolution and a transposed one, which OpenVINO must not share."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(self.conv(x).relu(), self.conv.weight, padding=1)


def test_a_weight_for_both_kinds_of_convolution_is_stored_twice() -> None:
    assert difference(Tied()) < 1e-5


def test_an_imaginary_number_is_refused() -> None:
    net = Family(lambda module, x: [torch.view_as_real(x * 1j)])
    with pytest.raises(UserError, match=r"operator 'mul' .* cannot be exported"):
        kinds(net)
