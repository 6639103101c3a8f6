"""AlexNet, VGG-16 and DISTS against other packages, with the same random weights."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional.image import dists as their_dists
from torchmetrics.functional.image import lpips as their_lpips

from gan_slimming.errors import UserError
from gan_slimming.perceptual.dists import CHANNELS, Dists
from gan_slimming.perceptual.lpips import Lpips, load_lpips
from gan_slimming.perceptual.lpips_networks import AlexNetFeatures, DeepVgg16Features
from gan_slimming.perceptual.weights import check_weights, load_weights


def alexnet(**_: Any) -> nn.Module:
    """torchvision's layers up to the last activation."""
    net = nn.Module()
    net.features = nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    )  # fmt: skip
    return net


def vgg16(**_: Any) -> nn.Module:
    """torchvision's layers up to the last activation."""
    layers: list[nn.Module] = []
    inputs, depth = 3, 0
    for outputs, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers += [nn.MaxPool2d(2)] if layers else []
        for _number in range(depth):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
    net = nn.Module()
    net.features = nn.Sequential(*layers)
    return net


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for torchvision, which only builds networks."""
    package, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    weights = types.SimpleNamespace(DEFAULT=None)
    models.__dict__.update(alexnet=alexnet, vgg16=vgg16, VGG16_Weights=weights)
    package.__dict__.update(models=models, transforms=None)
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    for module in (their_dists, their_lpips):
        monkeypatch.setattr(module, "_TORCHVISION_AVAILABLE", True)
    monkeypatch.setattr(their_dists, "vgg16", vgg16, raising=False)
    monkeypatch.setattr(their_dists, "VGG16_Weights", weights, raising=False)


def images() -> tuple[Tensor, Tensor]:
    first, second = (torch.rand(2, 2, 3, 64, 80) * 2 - 1).unbind()
    return first, second


def state_of(features: nn.Sequential) -> dict[str, Tensor]:
    """He-normal weights, so that deep layers still see something; returned under their names."""
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return {f"features.{name}": tensor for name, tensor in features.state_dict().items()}


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_lpips_is_torchmetrics(torchvision: None, network: str) -> None:
    theirs: Any = their_lpips._LPIPS(pretrained=False, net=network, pnet_rand=True)  # pyright: ignore[reportArgumentType]
    theirs.eval()
    source: Any = alexnet() if network == "alex" else vgg16()
    state = state_of(source.features)
    to = [x for x in theirs.net.modules() if isinstance(x, nn.Conv2d)]
    own = [x for x in source.features if isinstance(x, nn.Conv2d)]
    for layer, given in zip(to, own, strict=True):
        layer.load_state_dict(given.state_dict())
    linear = {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1) for i, w in enumerate(theirs.chns)}
    for i in range(len(theirs.chns)):
        getattr(theirs, f"lin{i}").model[1].weight.data = linear[f"lin{i}.model.1.weight"]
    ours = Lpips((AlexNetFeatures if network == "alex" else DeepVgg16Features)(state), linear)
    first, second = images()
    expected = theirs(first, second).flatten()
    torch.testing.assert_close(ours(first, second), expected, rtol=1e-4, atol=1e-6)
    assert float(ours(first, first).abs().max()) == 0


def test_dists_is_torchmetrics(torchvision: None) -> None:
    theirs = their_dists.DISTSNetwork(load_weights=False)
    stages = (theirs.stage1, theirs.stage2, theirs.stage3, theirs.stage4, theirs.stage5)
    state = {}
    for stage in stages:
        for number, layer in stage.named_children():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                state |= {f"features.{number}.{n}": t for n, t in layer.state_dict().items()}
    ours = Dists(state, {"alpha": theirs.alpha.detach(), "beta": theirs.beta.detach()})
    first, second = images()
    expected = theirs((first + 1) / 2, (second + 1) / 2)
    torch.testing.assert_close(ours(first, second), expected, rtol=1e-4, atol=1e-5)
    assert float(ours(first, first).abs().max()) < 1e-5
    assert not ours.train().training
    assert sum(CHANNELS) == 1475
    with pytest.raises(UserError, match=r"DISTS needs 'beta' of \(1, 1475, 1, 1\), got nothing"):
        Dists(state, {"alpha": theirs.alpha.detach()})


def test_dists_is_its_authors(torchvision: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network and channel weights of DISTS-pytorch 0.1, which the stand-in for VGG-16 serves."""
    pytest.importorskip(
        "DISTS_pytorch", reason="pip install --no-deps DISTS-pytorch", exc_type=ImportError
    )
    from DISTS_pytorch import DISTS_pt  # pyright: ignore[reportMissingImports]

    source: Any = vgg16()
    state = state_of(source.features)
    monkeypatch.setattr(DISTS_pt.models, "vgg16", lambda **_: source)
    theirs: Any = DISTS_pt.DISTS(load_weights=False).eval()
    published = Path(DISTS_pt.__file__).with_name("weights.pt")
    check_weights("dists", published)
    weights = load_weights("dists", published)
    theirs.alpha.data, theirs.beta.data = weights["alpha"], weights["beta"]
    ours = Dists(state, weights)
    first, second = images()
    expected = theirs((first + 1) / 2, (second + 1) / 2)
    torch.testing.assert_close(ours(first, second), expected, rtol=1e-4, atol=1e-5)
    assert float(expected.detach().min()) > 0.01


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_lpips_is_its_authors(
    torchvision: None, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    """Network of lpips 0.1.4 with its own linear layers, on the same random features."""
    package = pytest.importorskip(
        "lpips", reason="pip install --no-deps lpips", exc_type=ImportError
    )
    source: Any = alexnet() if network == "alex" else vgg16()
    state = state_of(source.features)
    kind = package.pretrained_networks
    name = "alexnet" if network == "alex" else "vgg16"
    monkeypatch.setattr(kind.tv, name, lambda **_: source)
    theirs: Any = package.LPIPS(net=network, verbose=False).eval()
    linear = {
        n: t for n, t in theirs.state_dict().items() if n.startswith("lin") and "lins" not in n
    }
    ours = Lpips((AlexNetFeatures if network == "alex" else DeepVgg16Features)(state), linear)
    first, second = images()
    expected = theirs(first, second).flatten()
    torch.testing.assert_close(ours(first, second), expected, rtol=1e-4, atol=1e-6)


def test_an_unknown_network_of_lpips() -> None:
    with pytest.raises(UserError, match="networks squeeze, alex, vgg, got 'vgg19'"):
        load_lpips(network="vgg19")
