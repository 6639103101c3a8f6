"""Feature networks: names, shapes, normalisation, and that they are frozen. Random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_slimming.errors import UserError
from gan_slimming.perceptual.features import (
    SqueezeNetFeatures,
    Vgg16Features,
    Vgg19Features,
    load_features,
)

VGG16 = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256)}
VGG16 |= {14: (256, 256), 17: (256, 512), 19: (512, 512), 21: (512, 512)}
VGG19 = {2: (3, 64), 5: (64, 64), 9: (64, 128), 12: (128, 128), 16: (128, 256)}
FIRES = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128)}
FIRES |= {9: (256, 48, 192), 10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}


def _convolution(name: str, inputs: int, outputs: int, side: int) -> dict[str, Tensor]:
    """He's initialisation, so that activations neither die nor explode."""
    weight = torch.randn(outputs, inputs, side, side) * (2 / (inputs * side**2)) ** 0.5
    return {f"{name}.weight": weight, f"{name}.bias": torch.randn(outputs) * 0.1}


def vgg16_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state: dict[str, Tensor] = {"classifier.0.weight": torch.zeros(1)}
    for number, (inputs, outputs) in VGG16.items():
        state |= _convolution(f"features.{number}", inputs, outputs, 3)
    return state


def vgg19_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = _convolution("0", 3, 3, 1)
    for number, (inputs, outputs) in VGG19.items():
        state |= _convolution(str(number), inputs, outputs, 3)
    return state


def squeezenet_state(classes: int = 10) -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = _convolution("features.0", 3, 64, 3)
    for number, (inputs, squeeze, expand) in FIRES.items():
        state |= _convolution(f"features.{number}.squeeze", inputs, squeeze, 1)
        state |= _convolution(f"features.{number}.expand1x1", squeeze, expand, 1)
        state |= _convolution(f"features.{number}.expand3x3", squeeze, expand, 3)
    return state | _convolution("classifier.1", 512, classes, 1)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "vgg16": lambda: Vgg16Features(vgg16_state()),
    "vgg19": lambda: Vgg19Features(vgg19_state()),
    "squeezenet": lambda: SqueezeNetFeatures(squeezenet_state()),
}
SHAPES = {
    "vgg16": {
        "relu1_2": (64, 32),
        "relu2_2": (128, 16),
        "relu3_3": (256, 8),
        "relu4_3": (512, 4),
    },
    "vgg19": {"relu1_1": (64, 32), "relu2_1": (128, 16), "relu3_1": (256, 8)},
    "squeezenet": {
        "slice1": (64, 15),
        "slice2": (128, 7),
        "slice3": (256, 3),
        "slice4": (384, 1),
        "slice5": (384, 1),
        "slice6": (512, 1),
        "slice7": (512, 1),
    },
}


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_in_order(name: str) -> None:
    found = NETWORKS[name]()(torch.rand(2, 3, 32, 32))
    shapes = {layer: (2, channels, side, side) for layer, (channels, side) in SHAPES[name].items()}
    assert list(found) == list(shapes)
    assert {layer: tuple(features.shape) for layer, features in found.items()} == shapes
    # Everything stands behind a ReLU that lets something through.
    assert all(features.min() == 0 and features.max() > 0 for features in found.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_but_differentiable_in_the_image(name: str) -> None:
    network = NETWORKS[name]().train()
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    torch.stack([features.sum() for features in network(image).values()]).sum().backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.any()


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_and_autocast_agree_with_plain_float(name: str) -> None:
    network, image = NETWORKS[name](), torch.rand(1, 3, 32, 32)
    plain = network(image)
    last = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    for features, expected in zip(
        last(image.contiguous(memory_format=torch.channels_last)).values(),
        plain.values(),
        strict=True,
    ):
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network(image)
    for features, expected in zip(rough.values(), plain.values(), strict=True):
        assert (features - expected).abs().mean() < 0.03 * expected.abs().mean()


def test_vgg16_normalises_only_when_asked() -> None:
    state, image = vgg16_state(), torch.rand(1, 3, 16, 16)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    plain, normalised = Vgg16Features(state), Vgg16Features(state, imagenet_normalisation=True)
    torch.testing.assert_close(normalised(image)["relu3_3"], plain((image - mean) / std)["relu3_3"])
    assert not torch.allclose(normalised(image)["relu3_3"], plain(image)["relu3_3"])


def test_vgg19_first_features_by_hand() -> None:
    state, image = vgg19_state(), torch.rand(1, 3, 8, 8)
    colours = F.conv2d(image, state["0.weight"], state["0.bias"])
    padded = F.pad(colours, (1, 1, 1, 1), mode="reflect")
    expected = F.conv2d(padded, state["2.weight"], state["2.bias"]).relu()
    torch.testing.assert_close(Vgg19Features(state)(image)["relu1_1"], expected)


def test_squeezenet_logits_need_a_classifier() -> None:
    state, image = squeezenet_state(classes=7), torch.rand(2, 3, 32, 32)
    network = SqueezeNetFeatures(state)
    maps = network(image)["slice7"]
    scores = F.conv2d(maps, state["classifier.1.weight"], state["classifier.1.bias"]).relu()
    torch.testing.assert_close(network.logits(image), scores.mean(dim=(2, 3)))
    without = {name: value for name, value in state.items() if "classifier" not in name}
    with pytest.raises(UserError, match="classifier"):
        SqueezeNetFeatures(without).logits(image)


def test_unfit_weights_are_named() -> None:
    state = vgg19_state()
    with pytest.raises(UserError, match=r"Vgg19Features: 'features.9.weight' must have shape"):
        Vgg19Features(state | {"9.weight": torch.zeros(1)})
    del state["16.bias"]
    with pytest.raises(UserError, match=r"lack 'features.16.bias'"):
        Vgg19Features(state)


def test_load_features_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(vgg19_state(), file)
    image = torch.rand(1, 3, 8, 8)
    expected = Vgg19Features(vgg19_state())(image)["relu3_1"]
    assert torch.equal(load_features("vgg19", file)(image)["relu3_1"], expected)
    with pytest.raises(UserError, match="vgg16, vgg19, squeezenet, got 'resnet'"):
        load_features("resnet", file)
