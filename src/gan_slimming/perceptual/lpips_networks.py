"""The two other networks of LPIPS: AlexNet, and VGG-16 up to its last block."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from gan_slimming.perceptual.features import ImageNetFeatures


class AlexNetFeatures(ImageNetFeatures):
    """The activations relu1 to relu5 of AlexNet (Krizhevsky 2014).

    Layer names are torchvision's: features.0 to features.10, classifier ignored.
    """

    channels = (64, 192, 384, 256, 256)

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        modules: list[nn.Module] = [nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU()]
        modules += [nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()]
        modules += [nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()]
        modules += [nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()]
        modules += [nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()]
        taps = {str(n): f"relu{i}" for i, n in enumerate((1, 4, 7, 9, 11), start=1)}
        super().__init__([(str(place), layer) for place, layer in enumerate(modules)], taps)
        self._fill(state)


class DeepVgg16Features(ImageNetFeatures):
    """The activations relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 of VGG-16.

    Images are normalised as for ImageNet. Layer names are torchvision's: features.0 to features.28,
    classifier ignored.

    Args:
        state: tensors under these names.
        pool: function from channels to a pool of stride 2; None for the network's own maximum.
    """

    channels = (64, 128, 256, 512, 512)

    def __init__(
        self, state: Mapping[str, Tensor], pool: Callable[[int], nn.Module] | None = None
    ) -> None:
        layers: list[nn.Module] = []
        taps, inputs = {}, 3
        for block, (outputs, depth) in enumerate(zip(self.channels, (2, 2, 3, 3, 3), strict=True)):
            if layers:
                layers.append(pool(inputs) if pool else nn.MaxPool2d(2))
            for _ in range(depth):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
            taps[str(len(layers) - 1)] = f"relu{block + 1}_{depth}"
        super().__init__([(str(place), layer) for place, layer in enumerate(layers)], taps)
        self._fill(state)
