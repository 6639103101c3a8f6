"""Generators whose arguments follow the size of the image: one file, right at every size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.export.trace.graph import trace

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from tests.unit.export.agreement import CONTRACT, RUNTIMES, difference, kinds  # noqa: E402

from gan_slimming.export import parity  # noqa: E402
from gan_slimming.export.onnx import onnx_model  # noqa: E402
from gan_slimming.export.operators.pools import window_means  # noqa: E402

COLOURS = InputContract(multiple_of=4)


class Net(nn.Module):
    """Pointwise in, whatever looks at the size in the middle, pointwise out."""

    def __init__(self, middle: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.middle = middle
        self.linear, self.point = nn.Linear(4, 4), nn.Conv2d(4, 4, 1)
        self.weight = nn.Parameter(torch.randn(1, 4, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.middle(self, self.point(x))


def windows(net: Net, x: Tensor) -> Tensor:
    """Swin's: an image is padded to windows, which attend to themselves, shifted and cropped."""
    n, channels, height, width = x.shape
    x = F.pad(x, (0, (6 - width % 6) % 6, 0, (6 - height % 6) % 6))
    rows, columns = x.shape[2] // 6, x.shape[3] // 6
    cells = x.permute(0, 2, 3, 1).view(n, rows, 6, columns, 6, channels)
    tokens = net.linear(cells.transpose(2, 3).reshape(-1, 36, channels))
    tokens = F.scaled_dot_product_attention(tokens, tokens, tokens)
    cells = tokens.view(n, rows, columns, 6, 6, channels).transpose(2, 3)
    image = cells.reshape(n, 6 * rows, 6 * columns, channels).permute(0, 3, 1, 2)
    return image.roll((-2, 3), (2, 3))[:, :, :height, :width]


def padded_skip(net: Net, x: Tensor) -> Tensor:
    """The usual U-Net: what comes up is padded to the size of what was kept."""
    up = F.interpolate(F.max_pool2d(x, 3), scale_factor=2, mode="bilinear", align_corners=True)
    rows, columns = x.size(2) - up.size(2), x.size(3) - up.size(3)
    sides = [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
    return torch.cat([x, F.pad(up, sides)], 1)


def coordinate_attention(net: Net, x: Tensor) -> Tensor:
    """Rows and columns are pooled, joined, and split again."""
    _, _, height, width = x.shape
    down = F.adaptive_avg_pool2d(x, (None, 1))
    right = F.adaptive_avg_pool2d(x, (1, None)).transpose(2, 3)
    down, right = net.point(torch.cat([down, right], 2)).split([height, width], 2)
    return x * down.sigmoid() * right.transpose(2, 3).sigmoid()


def modulated(net: Net, x: Tensor) -> Tensor:
    """StyleGAN2's: a kernel for each image, in as many groups; then one that enlarges."""
    n, channels, height, width = x.shape
    kernels = net.weight * x.mean((2, 3)).view(n, 1, channels, 1, 1)
    side_by_side = x.reshape(1, n * channels, height, width)
    y = F.conv2d(side_by_side, kernels.flatten(0, 1), padding=1, stride=2, groups=n)
    y = F.conv_transpose2d(y, kernels.flatten(0, 1), stride=2, output_padding=1, groups=n)
    return y.view(n, channels, y.shape[2], y.shape[3])


def coordinates(net: Net, x: Tensor) -> Tensor:
    """CoordConv's planes, by linspace and by meshgrid."""
    n, _, height, width = x.shape
    ramp = torch.linspace(-1, 1, height).view(1, 1, -1, 1).expand(n, -1, -1, width)
    down, right = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    plane = (down / (height - 1)).repeat(n, 1, 1, 1)
    return torch.cat([x, ramp, plane], 1) * (down > right)


def scaled(net: Net, x: Tensor) -> Tensor:
    """Numbers of all kinds: roots, quotients, floors, remainders, the larger of two."""
    height, width = x.shape[2:]
    x = x * (height * width) ** -0.5 + height / width + width
    x = F.interpolate(x, size=(math.floor(height * 1.5), math.ceil(width / 3)))
    size = (max(height, width) // 2 + (height // 8) ** 2, min(height, width) % 7 + 3)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def statistics(net: Net, x: Tensor) -> Tensor:
    """MUNIT's norm, spatial conditions at the size of features, means over all that there is."""
    flat = x.view(x.size(0), -1)
    mean, spread = (value.view(-1, 1, 1, 1) for value in (flat.mean(1), flat.std(1)))
    y = F.layer_norm(F.avg_pool2d(x, 2), (4, x.shape[2] // 2, x.shape[3] // 2))
    y = y * F.interpolate((x - mean) / spread, size=y.shape[2:], mode="nearest")
    return F.interpolate(y, size=x.shape[-2:], mode="bicubic")


MIDDLES = (
    windows, padded_skip, coordinate_attention, modulated, coordinates, scaled, statistics,
)  # fmt: skip


@pytest.mark.parametrize("middle", MIDDLES)
def test_a_file_follows_the_size(middle: Any) -> None:
    assert difference(Net(middle)) < 1e-5


@pytest.mark.int8
@pytest.mark.parametrize("form", ["qdq", "integer"])
def test_its_layers_are_int8_all_the_same(form: Any) -> None:
    prepared = gs.prepare(Net(coordinate_attention).eval(), (torch.zeros(1, 4, 16, 16),))
    gs.calibrate(prepared, [(torch.rand(2, 4, 16, 20) * 2 - 1,)])
    small = gs.extract(prepared)
    traced = trace(small, CONTRACT, 16, quantized=True)
    given = dummy_inputs(CONTRACT, (20, 12))
    runtimes = RUNTIMES if form == "qdq" else RUNTIMES[:1]
    rows = parity.check_layers(small, traced, form, 17, given, runtimes)
    assert {row.layer for row in rows} == set(traced.layers)
    model, float_layers = onnx_model(traced, form, 17, {})
    assert float_layers == []
    assert apart(small, model.SerializeToString(), (2, 4, 24, 12), runtimes) < 0.01


def apart(
    module: nn.Module, content: bytes, shape: tuple[int, ...], runtimes: Sequence[str]
) -> float:
    """Mean difference to torch, relative to the spread: few rounding flips, or nonsense."""
    image = torch.rand(shape) * 2 - 1
    with torch.no_grad():
        expected = module(image).numpy()
    made = [parity.START[runtime](content, 1)[0](image.numpy()) for runtime in runtimes]
    return max(float(abs(found - expected).mean() / expected.std()) for found in made)


def test_a_reshape_with_one_length_to_find_needs_no_arithmetic() -> None:
    class Tokens(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            n, channels, height, width = x.shape
            x = x.view(n, channels, height * width).transpose(1, 2)
            return x.reshape(n, height, width, channels)

    assert kinds(Tokens(), COLOURS) == [
        "Reshape", "Transpose", "Shape", "Gather", "Concat", "Reshape", "Identity",
    ]  # fmt: skip

    class Channels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(-1, 1, x.shape[2], x.shape[3]).flatten(2)

    assert kinds(Channels(), COLOURS) == ["Reshape", "Reshape", "Identity"]


class Turned(nn.Module):
    """Scales of channels, some negative, in front of a quantiser."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.last = nn.Conv2d(4, 12, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.scale = nn.Parameter(torch.tensor([0.5, -1.2, 2.0]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_shuffle(self.up(x), 2)
        return self.last(x / self.scale) + self.last(self.scale * x[:, :, 1:, 1:].relu()).mean()


@pytest.mark.int8
def test_negative_scales_stay_out_of_quantisers() -> None:
    """OpenVINO folds them in, and computes nonsense then."""
    prepared = gs.prepare(Turned().eval(), (torch.zeros(1, 4, 16, 16),))
    gs.calibrate(prepared, [(torch.rand(2, 4, 16, 16) * 2 - 1,)])
    small = gs.extract(prepared)
    model, _ = onnx_model(trace(small, CONTRACT, 16, quantized=True), "qdq", 17, {})
    assert apart(small, model.SerializeToString(), (1, 4, 12, 20), RUNTIMES) < 0.01


@pytest.mark.parametrize(("length", "count"), [(12, 4), (7, 3), (5, 5), (3, 8), (9, 1)])
def test_windows_share_a_image_out(length: int, count: int) -> None:
    values = torch.rand(1, 1, length, dtype=torch.float64)
    found = torch.from_numpy(window_means(length, count)).double() @ values[0, 0]
    torch.testing.assert_close(found, F.adaptive_avg_pool1d(values, count)[0, 0], atol=1e-6, rtol=0)
