"""DCGAN's generator in the form of PyTorch's example."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.models.dcgan import DcganGenerator, infer_arguments


def test_layers_stand_at_the_example_s_positions() -> None:
    state = DcganGenerator(2, 5).state_dict()
    shapes = {name: tuple(t.shape) for name, t in state.items() if t.ndim == 4}
    assert shapes == {
        "main.0.weight": (5, 16, 4, 4),
        "main.3.weight": (16, 8, 4, 4),
        "main.6.weight": (8, 4, 4, 4),
        "main.9.weight": (4, 2, 4, 4),
        "main.12.weight": (2, 3, 4, 4),
    }
    norms = {name for name in state if name.endswith("running_var")}
    assert norms == {f"main.{place}.running_var" for place in (1, 4, 7, 10)}
    assert not any(name in state for name in ("main.0.bias", "main.12.bias"))


def test_vectors_give_what_their_1x1_images_give_upstream(tiny: Callable[..., Any]) -> None:
    generator, latents = tiny("dcgan")
    output = generator(latents)
    assert output.shape == (2, 3, 64, 64)
    assert output.abs().max() <= 1
    assert torch.equal(output, generator.main(latents[:, :, None, None]))
    assert torch.equal(output, generator(latents[:, :, None, None]))


def test_arguments_are_read_off_the_weights() -> None:
    assert infer_arguments(DcganGenerator(3, 7).state_dict()) == {"width": 3, "latent": 7}
    assert infer_arguments({"main.0.weight": torch.tensor(1.0)}) == {}


def test_contract() -> None:
    assert DcganGenerator(2).contract.latent_size == 100
    assert DcganGenerator(2, 7).contract.latent_size == 7


def test_fresh_weights_follow_the_paper() -> None:
    generator = DcganGenerator(8)
    assert generator.get_parameter("main.0.weight").std().item() == pytest.approx(0.02, rel=0.02)
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert torch.cat([norm.weight.detach() for norm in norms]).mean().item() == pytest.approx(
        1, abs=0.01
    )


def test_an_empty_network_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1, got 64 and 0"):
        DcganGenerator(latent=0)
