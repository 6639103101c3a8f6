"""What a generator takes is found by trial, and is what those that tell it tell."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from tests.tiny_nets import SHALLOW
from torch import Tensor, nn
from torch.nn.utils import weight_norm

from gan_slimming.config import ExtraInput, InputContract
from gan_slimming.models.infer_contract import infer_contract
from gan_slimming.models.registry import build_generator, infer_spec, registered, spec_of


@pytest.mark.parametrize("name", registered())
def test_the_trial_finds_what_registered_generators_tell(name: str) -> None:
    net = build_generator(name, width=4, **SHALLOW.get(name, {}))
    told, found = spec_of(net).contract, infer_contract(net)
    assert (found.multiple_of, found.scale) == (told.multiple_of, told.scale)
    assert found.channels == 3


def halves(channels: int = 3, times: int = 1) -> nn.Sequential:
    """Rounds odd sides up: 65 pixels become 66."""
    down = [nn.Conv2d(channels if t == 0 else 4, 4, 3, 2, 1) for t in range(times)]
    up = [nn.ConvTranspose2d(4, channels if t == 0 else 4, 4, 2, 1) for t in reversed(range(times))]
    return nn.Sequential(*down, *up)


class OnItsDevice(nn.Module):
    """Makes constants in its forward, and looks at values of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.gain = halves(times=2), nn.Parameter(torch.ones(1))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.get_buffer("calls").add_(1)
        ramp = torch.linspace(0, 1, x.shape[3]) + torch.zeros(x.shape[2], 1)
        return self.body(x + ramp) * self.gain


class Picky(nn.Module):
    """Asks for values, which a trial without values cannot give."""

    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.mean()) > 0 else -x


@pytest.mark.parametrize(
    ("net", "found"),
    [
        (nn.Conv2d(3, 3, 3, padding=1), InputContract()),
        (halves(times=3), InputContract(multiple_of=8)),
        (halves(channels=1), InputContract(channels=1, multiple_of=2)),
        (nn.Sequential(nn.Conv2d(3, 12, 1), nn.PixelShuffle(2)), InputContract(scale=2)),
        (OnItsDevice(), InputContract(multiple_of=4)),
        (nn.Linear(7, 3), InputContract()),
        (nn.Conv2d(3, 3, 3), InputContract()),
        (Picky(), InputContract()),
    ],
)
def test_multiples_scale_and_grey_images(net: nn.Module, found: InputContract) -> None:
    before = copy.deepcopy(net.state_dict())
    assert net.training
    assert infer_spec(net).contract == found
    assert spec_of(net).contract is spec_of(net).contract
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_square_that_leaves_a_norm_a_single_pixel_is_too_small() -> None:
    layers = [nn.Conv2d(3 if n == 0 else 4, 4, 4, 2, 1) for n in range(6)]
    net = nn.Sequential(*layers, nn.InstanceNorm2d(4), nn.Upsample(scale_factor=64))
    net.append(nn.Conv2d(4, 3, 1))
    assert infer_contract(net.train()) == InputContract(multiple_of=64, min_size=128)


class Joined(nn.Module):
    """A fixed map, normalised by an image and its label map of 7 classes, to 32x32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, 8, 32, 32))
        self.scales, self.last = nn.Conv2d(10, 8, 3, padding=1), nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor, labels: Tensor) -> Tensor:
        return self.last(self.start * self.scales(torch.cat([image, labels], 1)))


@pytest.mark.parametrize(
    ("net", "found"),
    [
        (Joined(), InputContract(size=32, extras=(ExtraInput("mask", 7),))),
        (
            nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ConvTranspose2d(8, 3, 4, 2, 1)),
            InputContract(channels=4, multiple_of=2),
        ),
    ],
)
def test_channels_of_label_maps_and_of_images_with_masks_are_those_of_a_first_layer(
    net: nn.Module, found: InputContract
) -> None:
    assert infer_contract(net) == found


def test_old_weight_norm_is_no_obstacle() -> None:
    net = halves()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for layer in net:
            if isinstance(layer, nn.Conv2d):
                weight_norm(layer)
    net(torch.zeros(1, 3, 64, 64))  # leaves weights that copy.deepcopy refuses
    assert infer_contract(net) == infer_contract(halves())


def test_signals_become_waveforms() -> None:
    net = nn.Sequential(nn.Conv1d(7, 4, 3, padding=1), nn.ConvTranspose1d(4, 1, 8, 4, 2), nn.Tanh())
    assert infer_contract(net) == InputContract(channels=7, scale=4, signal=True)
    halved = nn.Sequential(nn.Conv1d(7, 4, 4, 2, 1), net[1], net[2])
    found = InputContract(channels=7, multiple_of=2, scale=2, signal=True)
    assert infer_contract(halved) == found
    assert infer_contract(nn.Conv1d(7, 4, 3)) == InputContract()  # two samples less


def test_what_cannot_be_copied_is_left_alone() -> None:
    net = nn.Conv2d(3, 3, 1)
    net.lines = (line for line in "ab")  # pyright: ignore
    assert infer_spec(net).contract == InputContract()


def test_a_contract_of_its_own_counts() -> None:
    net = halves()
    net.contract = InputContract(multiple_of=16)  # pyright: ignore
    assert infer_spec(net).contract.multiple_of == 16


class Conditional(nn.Module):
    """Noise (batch, 20, 1, 1) and `labels` labels, or a class, through a first layer of both."""

    def __init__(self, labels: int, classes: int = 0) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Linear(7, 4, bias=False) for _ in range(labels))
        if classes:
            self.tables.append(nn.Embedding(classes, 4))
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(100 + 4 * len(self.tables), 8, 4), nn.ReLU(),
            nn.ConvTranspose2d(8, 3, 4, 2, 1),
        )  # fmt: skip

    def embedded(self, noise: Tensor, *given: Tensor) -> Tensor:
        vectors = [table(g)[..., None, None] for table, g in zip(self.tables, given, strict=True)]
        return self.layers(torch.cat([noise, *vectors], 1))


class OneLabel(Conditional):
    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        return self.embedded(noise, label)


class TwoLabels(Conditional):
    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, noise: Tensor, hair: Tensor, eyes: Tensor) -> Tensor:
        return self.embedded(noise, hair, eyes)


class OneClass(Conditional):
    def __init__(self) -> None:
        super().__init__(0, classes=9)

    def forward(self, noise: Tensor, number: Tensor) -> Tensor:
        return self.embedded(noise, number)


@pytest.mark.parametrize(
    ("kind", "classes", "extras"),
    [
        (OneLabel, 0, (ExtraInput("label", 7),)),
        (TwoLabels, 0, (ExtraInput("label", 7),) * 2),
        (OneClass, 9, ()),
    ],
)
def test_labels_and_classes_stand_beside_noise(
    kind: type[nn.Module], classes: int, extras: tuple[ExtraInput, ...]
) -> None:
    found = InputContract(latent_size=100, latent_dims=4, classes=classes, extras=extras)
    assert infer_contract(kind()) == found


def test_noise_of_a_signals_length_stands_beside_it() -> None:
    class Vocoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mel, self.noise = nn.Conv1d(5, 8, 3, padding=1), nn.Conv1d(6, 8, 3, padding=1)
            self.up = nn.ConvTranspose1d(8, 1, 4, 2, 1)

        def forward(self, mel: Tensor, noise: Tensor) -> Tensor:
            return self.up(self.mel(mel) + self.noise(noise))

    found = InputContract(channels=5, scale=2, signal=True, extras=(ExtraInput("noise", 6),))
    assert infer_contract(Vocoder()) == found
