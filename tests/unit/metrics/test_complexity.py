"""MACs and parameters against closed forms, torch's FLOP counter, and the literature."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from gan_slimming.metrics.complexity import FUNCTIONAL, count

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "grouped": (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (3, 4, 9, 7)),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=2), (2, 4, 9, 7)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), (2, 4, 9, 7)),
    "one dimension": (nn.Conv1d(4, 6, 5), (2, 4, 9)),
    "three dimensions": (nn.Conv3d(2, 3, 3), (2, 2, 5, 6, 7)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1), (3, 4, 5, 7)),
    "transposed, grouped": (nn.ConvTranspose2d(4, 6, 3, 2, groups=2), (2, 4, 5, 7)),
    "transposed, one dimension": (nn.ConvTranspose1d(4, 6, 3, 2), (2, 4, 5)),
    "linear": (nn.Linear(5, 7), (3, 5)),
    "linear on tokens": (nn.Linear(5, 7), (3, 4, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_agrees_with_torchs_counter(name: str) -> None:
    layer, shape = LAYERS[name]
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        layer(torch.rand(shape))
    cost = count(layer, (torch.rand(shape),))
    assert cost.macs == counter.get_total_flops() // 2 // shape[0]
    assert [entry.kind for entry in cost.layers] == [type(layer).__name__]


def test_closed_form() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8, affine=True), nn.ReLU()
    ).append(nn.ConvTranspose2d(8, 5, 4, stride=2, padding=1))
    cost = count(net, (torch.rand(2, 3, 10, 12),))
    first, second = 10 * 12 * 3 * 8 * 9, 10 * 12 * 8 * 5 * 16
    assert cost.macs == first + second
    assert cost.paper_convention_macs == first + 4 * second
    assert cost.parameters == 3 * 8 * 9 + 8 + 16 + 8 * 5 * 16 + 5
    assert [entry.name for entry in cost.layers] == ["0", "3"]
    assert [entry.macs for entry in cost.layers] == [first, second]
    assert cost.layers[1].output_shape == (2, 5, 20, 24)


def test_cyclegan_generator_as_in_the_literature() -> None:
    """49.55 GMACs in truth, 56.8 as papers count, for nine blocks at 256x256."""

    def norm(width: int) -> nn.Module:
        return nn.InstanceNorm2d(width)

    with torch.device("meta"):
        net = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, 64, 7), norm(64))
        for width in (64, 128):
            net.extend([nn.Conv2d(width, 2 * width, 3, 2, 1), norm(2 * width), nn.ReLU()])
        net.extend(nn.Conv2d(256, 256, 3, padding=1) for _ in range(18))
        for width in (128, 64):
            net.extend([nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1), norm(width), nn.ReLU()])
        net.extend([nn.ReflectionPad2d(3), nn.Conv2d(64, 3, 7), nn.Tanh()])
        cost = count(net, (torch.empty(1, 3, 256, 256),))
    assert cost.macs / 1e9 == pytest.approx(49.55, abs=0.01)
    assert cost.paper_convention_macs / 1e9 == pytest.approx(56.799, abs=0.001)


class Functional(nn.Module):
    """Products that no layer's hook sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(6, 3, 3, 3))
        self.layer = nn.Conv2d(6, 6, 1)

    def forward(self, images: Tensor, other: Tensor) -> Tensor:
        features = self.layer(self.layer(F.conv2d(images, self.weight))).flatten(2)
        return features @ other


def test_products_outside_layers_and_repeated_calls_are_counted() -> None:
    cost = count(Functional(), (torch.rand(2, 3, 6, 6), torch.rand(2, 16, 5)))
    by_name = {entry.name: entry.macs for entry in cost.layers}
    assert by_name == {"layer": 2 * 16 * 36, FUNCTIONAL: 16 * 6 * 27 + 6 * 16 * 5}
    assert cost.macs == sum(by_name.values())


def test_subclasses_count_and_the_module_is_left_as_it_was() -> None:
    class Mine(nn.Conv2d):
        pass

    net = nn.Sequential(Mine(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout().eval())
    cost = count(net, (torch.rand(2, 3, 4, 4),))
    assert cost.macs == 16 * 12
    assert cost.layers[0].kind == "Mine"
    assert [module.training for module in net.modules()] == [True, True, True, False]
    assert net.state_dict()["1.num_batches_tracked"] == 0
    assert not any(module._forward_hooks for module in net.modules())


def test_shared_parameters_count_once() -> None:
    layer = nn.Linear(4, 4)
    cost = count(nn.Sequential(layer, nn.ReLU(), layer), (torch.rand(1, 4),))
    assert cost.parameters == 20
    assert cost.macs == 32
