"""Each operator of LiteRT's table computes what torch does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_slimming.config import InputContract
from gan_slimming.export.export_model import export_model

SIDE = 8
CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "reflect": lambda x: F.pad(x, (3, 1, 2, 5), mode="reflect"),
    "replicate": lambda x: F.pad(x, (1, 6, 0, 2), mode="replicate"),
    "zeros": lambda x: F.pad(x, (1, 0, 2, 1)),
    "arithmetic": lambda x: (2 - x) * x / (x.abs() + 1.5) + x.sub(0.5, alpha=2),
    "channels": lambda x: x * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1),
    "activations": lambda x: F.silu(x) + F.gelu(x) + F.elu(x) + F.leaky_relu(x, 0.3),
    "clips": lambda x: F.hardtanh(x) + F.relu6(x) + x.clamp(min=-0.2) + F.hardswish(x),
    "roots": lambda x: torch.rsqrt(x.square() + 1) + torch.exp(-x.abs()) + torch.sin(x),
    "join": lambda x: torch.cat([x, -x, x.relu(), x.tanh(), x.sigmoid(), x], 1),
    "parts": lambda x: torch.cat(x.split([1, 2], 1)[::-1], 2 - 1) + x[:, 1:2, :, 2:3],
    "chunks": lambda x: x.chunk(2, 2)[1] * x.chunk(2, 2)[0],
    "means": lambda x: x - x.mean((2, 3), keepdim=True) + x.mean(1, keepdim=True),
    "pools": lambda x: F.avg_pool2d(x, 2) + F.max_pool2d(x, 2) + F.adaptive_avg_pool2d(x, 1),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "corners": lambda x: F.interpolate(x, size=(16, 12), mode="bilinear", align_corners=True),
    "shuffle": lambda x: F.pixel_shuffle(torch.cat([x, 2 * x, 3 * x, -x], 1), 2),
    "permute": lambda x: x.permute(0, 1, 3, 2).transpose(1, 2).transpose(1, 2),
    "view": lambda x: x.reshape(1, 12, 4, 4).flatten(1).view(1, 3, 8, 8),
}


class Step(nn.Module):
    """A convolution, and one function behind it."""

    contract = InputContract(multiple_of=SIDE)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.first = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return CASES[self.name](self.first(image))


@pytest.mark.parametrize("name", CASES)
def test_it_is_torchs(name: str, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    torch.manual_seed(0)
    told = export_model(Step(name).eval(), tmp_path / "g.tflite", size=SIDE)
    assert told["parity"]["litert"]["error"] < 1e-4


class Windows(nn.Module):
    """Layers with windows of all kinds."""

    contract = InputContract(multiple_of=SIDE)

    def __init__(self) -> None:
        super().__init__()
        self.strided = nn.Conv2d(3, 8, 4, stride=2, padding=1, padding_mode="reflect")
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)
        self.point = nn.Conv2d(8, 8, 1, stride=2)
        self.uneven = nn.Conv2d(8, 8, (1, 3), padding="same")
        self.up = nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1)
        self.up_again = nn.ConvTranspose2d(8, 3, 3, stride=2, padding=1, output_padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.batch = nn.BatchNorm2d(8)

    def forward(self, image: Tensor) -> Tensor:
        values = self.norm(self.strided(image)).relu()
        values = self.batch(self.uneven(self.point(self.dilated(values))))
        return self.up_again(self.up(values).relu())


@pytest.mark.parametrize("how", [{}, {"quantize_outputs": True}, {"bits": 4}])
def test_every_window_is_in_int8(how: dict[str, object], tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    import gan_slimming as gs

    torch.manual_seed(1)
    image = torch.rand(1, 3, 2 * SIDE, 2 * SIDE) * 2 - 1
    prepared = gs.prepare(Windows().eval(), (image,), **how)  # pyright: ignore
    gs.calibrate(prepared, [(image,)])
    told = export_model(gs.extract(prepared), tmp_path / "g.tflite", size=2 * SIDE)
    assert told["float_layers"] == []
    assert told["outside"] == []
    assert told["parity"]["litert"]["error"] <= 1e-5
