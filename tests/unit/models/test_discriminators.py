"""Discriminators by name: the registered ones, the user's own, and what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.models import (
    build_discriminator,
    build_generator,
    describe_discriminator,
    load_discriminator,
    registered_discriminators,
)

ARGUMENTS = [
    ("patchgan", {"width": 4}),
    ("patchgan", {"width": 4, "layers": 2, "norm": "batch"}),
    ("sngan", {"width": 4}),
    ("sngan", {"width": 4, "bias": True, "spectral": False}),
]
OWN = """
import torch

def build(width=2):
    return torch.nn.Sequential(torch.nn.Conv2d(3, width, 3), torch.nn.Conv2d(width, 1, 3))
"""


def refusal(name: str, **arguments: object) -> str:
    """The text with which a discriminator is refused; one line."""
    with pytest.raises(UserError) as caught:
        load_discriminator(name, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names() -> None:
    assert registered_discriminators() == ["patchgan", "sngan"]
    assert "Isola et al. 2017" in describe_discriminator("patchgan")


@pytest.mark.parametrize(("name", "arguments"), ARGUMENTS)
@pytest.mark.parametrize("kind", ["plain", "wrapped", "parallel", "safetensors"])
def test_weights_round_trip_through_a_file(
    name: str, arguments: dict, kind: str, tmp_path: Path
) -> None:
    first = build_discriminator(name, **arguments)
    state, path = first.state_dict(), tmp_path / "w.pth"
    if kind == "plain":
        torch.save(state, path)
    elif kind == "wrapped":
        torch.save({"netG": {"other": torch.zeros(1)}, "netD": state}, path)
    elif kind == "parallel":
        torch.save({f"module.{key}": tensor for key, tensor in state.items()}, path)
    else:
        path = tmp_path / "w.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    loaded = load_discriminator(name, path)
    assert loaded.training
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(loaded.eval()(images), first.eval()(images))


def test_fresh_weights_without_a_file() -> None:
    discriminator = load_discriminator("patchgan", width=2)
    assert discriminator.training
    assert discriminator(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 2, 2)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(build_generator("cyclegan", width=2, blocks=1).state_dict(), tmp_path / "w.pth")
    text = refusal("patchgan", weights=tmp_path / "w.pth")
    assert "does not fit patchgan(width=64, layers=3, channels=3, norm='instance'): missing" in text
    assert "missing model.0.bias, model.0.weight" in text
    assert text.endswith("check that the file belongs to this discriminator")
    text = refusal("sngan", weights=tmp_path / "w.pth")
    assert "missing block1.c1.bias, block1.c1.parametrizations" in text


def test_a_checkpoint_of_the_generator_alone_is_refused(tmp_path: Path) -> None:
    state = build_generator("cyclegan", width=2, blocks=1).state_dict()
    torch.save({"netG": state, "epoch": 3}, tmp_path / "w.pth")
    text = refusal("patchgan", weights=tmp_path / "w.pth")
    assert "w.pth, netG, does not fit patchgan" in text
    assert text.endswith("check that the file belongs to this discriminator")


def test_a_conditional_discriminator_is_refused(tmp_path: Path) -> None:
    torch.save(build_discriminator("patchgan", channels=6).state_dict(), tmp_path / "w.pth")
    text = refusal("patchgan", weights=tmp_path / "w.pth")
    assert "is of a patchgan that sees 6 channels, as conditional ones do" in text


def test_mistaken_names_and_arguments() -> None:
    text = refusal("patchgan2")
    assert (
        "no discriminator is called 'patchgan2'; take one of patchgan, sngan, or your own" in text
    )
    assert "patchgan has no argument depth; it takes width, layers" in refusal("patchgan", depth=3)
    assert "one of instance, batch, got layer" in refusal("patchgan", norm="layer")
    assert "a discriminator of your own is named package.module:factory" in refusal("own:")
    assert "discriminator none_such:f failed with ModuleNotFoundError" in refusal("none_such:f")


def test_a_discriminator_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "own_discriminator_" + tmp_path.name.replace("-", "_")
    (tmp_path / f"{place}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    first = build_discriminator(f"{place}:build", width=3)
    torch.save({"discriminator": first.state_dict()}, tmp_path / "w.pth")
    loaded = load_discriminator(f"{place}:build", tmp_path / "w.pth", width=3)
    assert torch.equal(loaded.get_parameter("1.weight"), first.get_parameter("1.weight"))
    assert "does not fit" in refusal(f"{place}:build", weights=tmp_path / "w.pth")


def test_given_arguments_go_before_those_of_the_weights(tmp_path: Path) -> None:
    torch.save(build_discriminator("patchgan", width=2).state_dict(), tmp_path / "w.pth")
    assert "misshapen model.0.bias is 2, expected 4" in refusal(
        "patchgan", weights=tmp_path / "w.pth", width=4
    )


def test_every_parameter_gets_a_gradient() -> None:
    for name, arguments in ARGUMENTS:
        discriminator: nn.Module = build_discriminator(name, **arguments)
        discriminator(torch.randn(2, 3, 32, 32)).sum().backward()
        assert [n for n, p in discriminator.named_parameters() if p.grad is None] == []
