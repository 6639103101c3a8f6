"""SNGAN's generator and discriminator: layout, names, and spectral normalisation's three forms."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.models import load_discriminator, load_generator
from gan_slimming.models.sngan import SnganGenerator, infer_arguments
from gan_slimming.models.sngan_discriminator import DownBlock, SnganDiscriminator, from_spectral
from gan_slimming.models.sngan_discriminator import infer_arguments as infer_discriminator
from gan_slimming.models.weights.choice import WeightsWarning


def written_out(state: dict[str, Tensor], latents: Tensor) -> Tensor:
    """The generator of table 4 in functions."""

    def norm(values: Tensor, name: str) -> Tensor:
        fields = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (state[f"{name}.{field}"] for field in fields)
        return F.batch_norm(values, mean, variance, scale, shift)

    def convolve(values: Tensor, name: str) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(values, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def up(values: Tensor) -> Tensor:
        return values.repeat_interleave(2, 2).repeat_interleave(2, 3)

    values = F.linear(latents, state["l1.weight"], state["l1.bias"])
    values = values.view(len(latents), -1, 4, 4)
    for block in ("block2", "block3", "block4"):
        inner = convolve(up(norm(values, f"{block}.b1").relu()), f"{block}.c1")
        inner = convolve(norm(inner, f"{block}.b2").relu(), f"{block}.c2")
        values = inner + convolve(up(values), f"{block}.c_sc")
    return torch.tanh(convolve(norm(values, "b5").relu(), "c5"))


def spectral_layer(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older of PyTorch's two is deprecated
        return nn.utils.spectral_norm(layer)


class OlderBlock(nn.Module):
    """A residual block of the usual code, with the older spectral normalisation."""

    def __init__(self, incoming: int, channels: int, down: bool) -> None:
        super().__init__()
        self.first, self.downscale = incoming != channels, down
        self.c1 = spectral_layer(nn.Conv2d(incoming, channels, 3, padding=1))
        self.c2 = spectral_layer(nn.Conv2d(channels, channels, 3, padding=1))
        self.c_sc = spectral_layer(nn.Conv2d(incoming, channels, 1)) if down else None

    def forward(self, values: Tensor) -> Tensor:
        inner = self.c2(F.relu(self.c1(values if self.first else F.relu(values))))
        if self.c_sc is None:
            return inner + values
        return F.avg_pool2d(inner, 2) + F.avg_pool2d(self.c_sc(values), 2)


class Older(nn.Module):
    """The usual code's discriminator."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.block1, self.block2 = OlderBlock(3, width, True), OlderBlock(width, width, True)
        self.block3, self.block4 = OlderBlock(width, width, False), OlderBlock(width, width, False)
        self.l5 = spectral_layer(nn.Linear(width, 1, bias=bias))

    def forward(self, images: Tensor) -> Tensor:
        values = self.block4(self.block3(self.block2(self.block1(images))))
        return self.l5(F.relu(values).sum(2).sum(2))


def test_the_generator_computes_what_the_paper_says(tiny: Callable[..., Any]) -> None:
    generator, latents = tiny("sngan", width=4)
    expected = written_out(generator.state_dict(), latents)
    assert expected.shape == (2, 3, 32, 32)
    assert expected.std() > 0.1
    torch.testing.assert_close(generator(latents), expected, atol=1e-5, rtol=1e-5)


def test_bilinear_upsampling_is_another_function(tiny: Callable[..., Any]) -> None:
    generator, latents = tiny("sngan", width=4)
    smooth = SnganGenerator(4, upsampling="bilinear").eval()
    smooth.load_state_dict(generator.state_dict())
    assert (smooth(latents) - generator(latents)).abs().max() > 0.01


def test_names_of_the_usual_code() -> None:
    norms = [f"block{n}.b{k}" for n in (2, 3, 4) for k in (1, 2)] + ["b5"]
    layers = [f"block{n}.{layer}" for n in (2, 3, 4) for layer in ("c1", "c2", "c_sc")]
    layers += ["l1", "c5"]
    names = {f"{place}.{field}" for place in norms + layers for field in ("weight", "bias")}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    names |= {f"{norm}.{field}" for norm in norms for field in statistics}
    assert set(SnganGenerator(2).state_dict()) == names


def test_arguments_are_read_off_the_weights() -> None:
    state = SnganGenerator(3, latent=5).state_dict()
    assert infer_arguments(state) == {"width": 3, "latent": 5}
    assert SnganGenerator(3, latent=5).contract.latent_size == 5
    assert infer_arguments({"c5.weight": torch.tensor(1.0)}) == {}


def test_the_average_generator_is_taken_out_of_a_training_checkpoint(tmp_path: Path) -> None:
    """As the usual script writes it, with noise for its samples beside the networks."""
    average, raw, discriminator = SnganGenerator(4), SnganGenerator(4), SnganDiscriminator(4)
    content = {
        "epoch": 7,
        "fixed_z": torch.randn(25, 128),
        "dis_state_dict": discriminator.state_dict(),
    }
    content |= {"gen_state_dict": raw.state_dict(), "avg_gen_state_dict": average.state_dict()}
    torch.save(content, tmp_path / "checkpoint.pth")
    with pytest.warns(
        WeightsWarning, match="took avg_gen_state_dict .averaged weights., left gen_"
    ):
        loaded = load_generator("sngan", tmp_path / "checkpoint.pth").state_dict()
    assert torch.equal(loaded["l1.weight"], average.l1.weight)
    found = load_discriminator("sngan", tmp_path / "checkpoint.pth").state_dict()
    assert all(torch.equal(found[k], t) for k, t in discriminator.state_dict().items())


@pytest.mark.parametrize("bias", [False, True])
def test_a_discriminator_with_the_older_spectral_norm_loads(bias: bool, tmp_path: Path) -> None:
    older, images = Older(6, bias), torch.rand(3, 3, 32, 32) * 2 - 1
    for _ in range(3):
        older(images)  # each forward pass in training mode moves u and v
    torch.save({"dis_state_dict": older.state_dict()}, tmp_path / "w.pth")
    loaded = load_discriminator("sngan", tmp_path / "w.pth")
    assert loaded.training
    torch.testing.assert_close(loaded.eval()(images), older.eval()(images), atol=1e-5, rtol=1e-5)


def test_a_missing_right_vector_is_computed() -> None:
    state = dict(Older(5, False).state_dict())
    full = from_spectral(state)
    partly = from_spectral({k: t for k, t in state.items() if not k.endswith("weight_v")})
    assert partly.keys() == full.keys()
    name = "block2.c1.parametrizations.weight.0._v"
    assert partly[name].norm().item() == pytest.approx(1)
    u = full["block2.c1.parametrizations.weight.0._u"]
    product = u @ full["block2.c1.parametrizations.weight.original"].flatten(1)
    assert (product @ partly[name]).item() == pytest.approx(product.norm().item(), rel=1e-5)


def test_a_discriminator_without_spectral_norm_loads(tmp_path: Path) -> None:
    plain = SnganDiscriminator(4, bias=True, spectral=False)
    assert {"block1.c1.weight", "block2.c_sc.bias", "l5.weight"} <= plain.state_dict().keys()
    torch.save(plain.state_dict(), tmp_path / "w.safetensors.pth")
    loaded = load_discriminator("sngan", tmp_path / "w.safetensors.pth")
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(images), plain(images))


def test_every_layer_has_spectral_norm_one() -> None:
    discriminator, images = SnganDiscriminator(4), torch.randn(2, 3, 32, 32)
    for _ in range(30):
        discriminator(images)
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 2 * 4 + 2 + 1
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert norm.item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("spectral", [True, False])
def test_discriminator_arguments_are_read_off_the_weights(spectral: bool) -> None:
    state = SnganDiscriminator(5, bias=True, spectral=spectral).state_dict()
    assert infer_discriminator(state) == {"width": 5, "bias": True, "spectral": spectral}
    assert infer_discriminator({"l5.bias": torch.zeros(1)}) == {}


def test_scores_and_gradients() -> None:
    discriminator = SnganDiscriminator(4)
    assert discriminator(torch.zeros(5, 3, 32, 32)).shape == (5, 1)
    discriminator(torch.randn(2, 3, 32, 32)).sum().backward()
    assert [n for n, p in discriminator.named_parameters() if p.grad is None] == []


def test_a_block_that_does_not_halve_adds_its_input() -> None:
    block = DownBlock(4, 4, False, lambda layer: layer)
    nn.init.zeros_(block.get_parameter("c2.weight"))
    nn.init.zeros_(block.get_parameter("c2.bias"))
    features = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(features), features)


def test_mistakes() -> None:
    with pytest.raises(UserError, match="at least 1, got 0 and 128"):
        SnganGenerator(0)
    with pytest.raises(UserError, match="one of nearest, bilinear, got bicubic"):
        SnganGenerator(upsampling="bicubic")
    with pytest.raises(UserError, match="width must be at least 4, got 3"):
        SnganDiscriminator(3)
