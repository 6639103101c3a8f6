"""Frozen classification networks, whose features serve perceptual losses and metrics.

Each takes images (batch, 3, height, width), RGB in [0, 1], normalises them in float32, and returns
feature maps by name, shallowest first. Images get gradients, weights never.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_slimming.errors import UserError
from gan_slimming.perceptual.weights import load_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class _FrozenFeatures(nn.Module):
    """A stack of frozen layers; `taps` maps the layers that give features to feature names."""

    def __init__(self, layers: list[tuple[str, nn.Module]], taps: dict[str, str]) -> None:
        super().__init__()
        self.features = nn.Sequential(OrderedDict(layers))
        self._taps = taps

    def normalise(self, images: Tensor) -> Tensor:
        """Convert images in [0, 1] to the inputs that the network was trained on."""
        return images

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return {name: (batch, channels, h, w)} of images (batch, 3, height, width) in [0, 1]."""
        with torch.autocast(images.device.type, enabled=False):
            values = self.normalise(images.to(_wider(images.dtype)))
        found: dict[str, Tensor] = {}
        for number, layer in self.features.named_children():
            values = layer(values)
            if number in self._taps:
                found[self._taps[number]] = values
        return found

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever `mode` is."""
        return super().train(False)

    def _fill(self, state: Mapping[str, Tensor]) -> None:
        """Load tensors from `state`; ignore unknown ones, refuse missing or unfit ones."""
        own = self.state_dict()
        for name, tensor in own.items():
            if name not in state:
                raise UserError(
                    f"weights for {type(self).__name__} lack {name!r}; "
                    f"give a file with the layer names of its docstring"
                )
            if state[name].shape != tensor.shape:
                raise UserError(
                    f"weights for {type(self).__name__}: {name!r} must have shape "
                    f"{tuple(tensor.shape)}, got {tuple(state[name].shape)}"
                )
        self.load_state_dict({name: state[name] for name in own})
        self.requires_grad_(False)
        self.eval()


class ImageNetFeatures(_FrozenFeatures):
    """A feature network trained on ImageNet-normalised images."""

    mean: Tensor
    std: Tensor

    def __init__(self, layers: list[tuple[str, nn.Module]], taps: dict[str, str]) -> None:
        super().__init__(layers, taps)
        # Constants, not weights: they move with the module, but are not in its state dict.
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class Vgg16Features(ImageNetFeatures):
    """Features relu1_2, relu2_2, relu3_3, relu4_3 of VGG-16 (Simonyan and Zisserman 2015).

    Zero padding. Layer names of torchvision: features.0 to features.21; the classifier is ignored.
    """

    def __init__(self, state: Mapping[str, Tensor], imagenet_normalisation: bool = False) -> None:
        """Make the network.

        Args:
            state: weights.
            imagenet_normalisation: off by default, because the paper's inputs are in [0, 1]. The
                weights were trained with it, but the paper's factors (beta = 20, 1e5) fit without.
        """
        layers: list[tuple[str, nn.Module]] = []
        inputs = 3
        for block in ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512)):
            if layers:
                layers.append((str(len(layers)), nn.MaxPool2d(2)))
            for outputs in block:
                layers.append((str(len(layers)), nn.Conv2d(inputs, outputs, 3, padding=1)))
                layers.append((str(len(layers)), nn.ReLU(inplace=True)))
                inputs = outputs
        taps = {"3": "relu1_2", "8": "relu2_2", "15": "relu3_3", "22": "relu4_3"}
        super().__init__(layers, taps)
        self.imagenet_normalisation = imagenet_normalisation
        self._fill(state)

    def normalise(self, images: Tensor) -> Tensor:
        return super().normalise(images) if self.imagenet_normalisation else images


class Vgg19Features(_FrozenFeatures):
    """Features relu1_1, relu2_1, relu3_1 of the normalised VGG-19 (Gatys et al. 2015).

    Reflection padding. Layer names '0', '2', '5', '9', '12', '16'. Layer '0' is the network's own
    normalisation: a 1x1 convolution from RGB in [0, 1] to BGR in [0, 255] less the mean.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        def convolution(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")

        layers: list[tuple[str, nn.Module]] = [
            ("2", convolution(3, 64)),
            ("3", nn.ReLU(inplace=True)),
            ("5", convolution(64, 64)),
            ("6", nn.ReLU(inplace=True)),
            ("7", nn.MaxPool2d(2, ceil_mode=True)),
            ("9", convolution(64, 128)),
            ("10", nn.ReLU(inplace=True)),
            ("12", convolution(128, 128)),
            ("13", nn.ReLU(inplace=True)),
            ("14", nn.MaxPool2d(2, ceil_mode=True)),
            ("16", convolution(128, 256)),
            ("17", nn.ReLU(inplace=True)),
        ]
        super().__init__(layers, {"3": "relu1_1", "10": "relu2_1", "17": "relu3_1"})
        self.colours = nn.Conv2d(3, 3, 1)
        self._fill(
            {
                f"colours.{name[2:]}" if name.startswith("0.") else f"features.{name}": tensor
                for name, tensor in state.items()
            }
        )

    def normalise(self, images: Tensor) -> Tensor:
        return self.colours(images)


class _Fire(nn.Module):
    """A fire module of SqueezeNet: a 1x1 squeeze, then parallel 1x1 and 3x3 expansions."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        values = F.relu(self.squeeze(values), inplace=True)
        expanded = torch.cat([self.expand1x1(values), self.expand3x3(values)], dim=1)
        return F.relu(expanded, inplace=True)


class SqueezeNetFeatures(ImageNetFeatures):
    """The seven slices of SqueezeNet 1.1 (Iandola et al. 2016) that LPIPS compares.

    slice1 to slice7, of 64, 128, 256, 384, 384, 512 and 512 channels, are the outputs of relu1 and
    of fire 3, 5, 6, 7, 8 and 9. Layer names of torchvision: features.0 to features.12, and
    classifier.1, which only `logits` needs.
    """

    channels = (64, 128, 256, 384, 384, 512, 512)

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        def pool() -> nn.MaxPool2d:
            return nn.MaxPool2d(3, stride=2, ceil_mode=True)

        modules: list[nn.Module] = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(inplace=True), pool()]
        modules += [_Fire(64, 16, 64), _Fire(128, 16, 64), pool()]
        modules += [_Fire(128, 32, 128), _Fire(256, 32, 128), pool()]
        modules += [_Fire(256, 48, 192), _Fire(384, 48, 192), _Fire(384, 64, 256)]
        modules += [_Fire(512, 64, 256)]
        ends = (1, 4, 7, 9, 10, 11, 12)
        taps = {str(number): f"slice{place}" for place, number in enumerate(ends, start=1)}
        super().__init__([(str(place), layer) for place, layer in enumerate(modules)], taps)
        self.classifier: nn.ModuleDict | None = None
        if "classifier.1.weight" in state:
            classes = state["classifier.1.weight"].shape[0]
            self.classifier = nn.ModuleDict({"1": nn.Conv2d(512, classes, 1)})
        self._fill(state)

    def logits(self, images: Tensor) -> Tensor:
        """Return class logits (batch, 1000) of images in [0, 1]; class 340 is zebra, 339 sorrel."""
        return self.class_scores(self.forward(images)["slice7"])

    def class_scores(self, maps: Tensor) -> Tensor:
        """Return class logits (batch, 1000) of maps of slice7."""
        if self.classifier is None:
            raise UserError(
                "the SqueezeNet weights hold no classifier; give a file with classifier.1"
            )
        return F.relu(self.classifier["1"](maps)).mean(dim=(2, 3))


def load_features(name: str, weights: Path | None = None, download: bool = True) -> nn.Module:
    """Load the network 'vgg16', 'vgg19' or 'squeezenet' with its weights, frozen.

    Args:
        weights: the file; None searches as `find_weights` does.
        download: whether to download a file that is not found.

    Raises:
        UserError: the name is unknown, or the weights are missing or do not fit.
    """
    networks = {"vgg16": Vgg16Features, "vgg19": Vgg19Features, "squeezenet": SqueezeNetFeatures}
    if name not in networks:
        raise UserError(f"feature network must be one of {', '.join(networks)}, got {name!r}")
    return networks[name](load_weights(name, weights, download=download))


def _wider(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
