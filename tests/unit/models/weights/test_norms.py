"""Weights in the parts of weight and spectral norm: all ways of saving fit all ways of building."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from gan_slimming.models.checkpoints import load_checked
from gan_slimming.models.weights.choice import WeightsWarning
from gan_slimming.models.weights.matching import match

Norm = Callable[[nn.Module], nn.Module]
IMAGES = torch.randn(1, 3, 9, 9)


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of itself
        return weight_norm(layer)


def plain(layer: nn.Module) -> nn.Module:
    return layer


def net(norm: Norm, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        norm(nn.Conv2d(3, 4, 3)), nn.Tanh(), norm(nn.ConvTranspose2d(4, 4, 3)), nn.Conv2d(4, 3, 1)
    )


def moved(norm: Norm) -> nn.Module:
    """A network whose vectors of spectral norm have settled, and whose sizes have been trained."""
    found = net(norm, 1)
    for _ in range(50):
        found(IMAGES)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if name.endswith(("_g", "original0")):
                parameter.mul_(torch.rand_like(parameter) + 0.5)
    return found.eval()


WEIGHT = (old_weight_norm, parametrizations.weight_norm)
SPECTRAL = (spectral_norm, parametrizations.spectral_norm)
PAIRS = [(a, b) for a in (*WEIGHT, plain) for b in (*WEIGHT, plain)]
PAIRS += [(a, b) for a in SPECTRAL for b in (*SPECTRAL, plain)]


@pytest.mark.parametrize(("saved", "built"), PAIRS)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_function_is_the_same(saved: Norm, built: Norm, prefix: str) -> None:
    source, target = moved(saved), net(built, 2).eval()
    state = {f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}
    load_checked(target, state)
    torch.testing.assert_close(target(IMAGES), source(IMAGES), atol=1e-5, rtol=1e-5)


def test_a_spectral_norm_of_before_2018_has_one_vector() -> None:
    source, target = moved(spectral_norm), net(plain, 2).eval()
    state = {n: t for n, t in source.state_dict().items() if not n.endswith("_v")}
    load_checked(target, state)
    torch.testing.assert_close(target(IMAGES), source(IMAGES), atol=1e-4, rtol=1e-4)


def test_parts_that_do_not_belong_together_are_no_weight() -> None:
    state = moved(spectral_norm).state_dict()
    state["0.weight_u"] = torch.ones(7)
    found = match(net(plain, 2), state)
    assert found.missing == ["0.weight"]
    assert "0.weight_u" in found.unexpected


def test_what_was_converted_is_noted() -> None:
    state: dict[str, Tensor] = moved(old_weight_norm).state_dict()
    assert match(net(plain, 2), state).notes == ["weight or spectral norm of 2 weight(s) converted"]
    assert issubclass(WeightsWarning, UserWarning)
