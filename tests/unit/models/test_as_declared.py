"""A module runs as its contract says: an output of several, statistics of the image, one noise."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.models.as_declared import as_declared


class Several(nn.Module):
    """Several results, of which the image is one, with noise inside."""

    def __init__(self, form: str = "tuple") -> None:
        super().__init__()
        self.body, self.form = nn.Conv2d(3, 3, 1), form

    def forward(self, x: Tensor, scale: float = 1.0) -> Any:
        image = self.body(x) * scale
        noisy = image + torch.randn_like(image)
        if self.form in ("image", "noisy"):
            return image if self.form == "image" else noisy
        return (x, image) if self.form == "tuple" else {"mask": x, "image": image}


IMAGE = torch.rand(2, 3, 8, 8)


@pytest.mark.parametrize(("form", "output"), [("tuple", "1"), ("dict", "image")])
def test_one_output_is_taken_by_index_or_key(form: str, output: str) -> None:
    module = Several(form)
    expected = module.body(IMAGE) * 2
    as_declared(module, InputContract(output=output))
    torch.testing.assert_close(module(IMAGE, scale=2), expected)
    as_declared(module, InputContract(output=output))  # again changes nothing
    torch.testing.assert_close(copy.deepcopy(module)(IMAGE, 2), expected)
    assert type(module).__qualname__ == "Several"
    assert isinstance(module, Several)


def test_a_contract_that_asks_for_nothing_leaves_the_class() -> None:
    module = Several("noisy")
    as_declared(module, InputContract())
    assert type(module) is Several
    assert pickle.loads(pickle.dumps(module)).form == "noisy"


def test_fixed_noise_is_the_same_every_time_and_moves_no_other_numbers() -> None:
    module = Several("noisy")
    assert not torch.equal(module(IMAGE), module(IMAGE))
    as_declared(module, InputContract(fixed_noise=True))
    before = torch.get_rng_state()
    assert torch.equal(module(IMAGE), module(IMAGE))
    assert torch.equal(torch.get_rng_state(), before)
    noise = (module(IMAGE) - module.body(IMAGE)).detach()
    assert float(noise.std()) == pytest.approx(1, abs=0.2)


class Subclass(nn.BatchNorm2d):
    pass


@pytest.mark.parametrize("affine", [True, False])
def test_statistics_of_the_image_are_those_of_training_mode_for_a_batch_of_one(
    affine: bool,
) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, affine=affine), nn.ReLU(), nn.Conv2d(5, 3, 1)
    )
    if affine:
        nn.init.uniform_(module.get_parameter("1.weight"))
        nn.init.normal_(module.get_parameter("1.bias"))
    scripted = copy.deepcopy(module).train()
    as_declared(module.eval(), InputContract(statistics="image"))
    expected = torch.cat([scripted(x[None]) for x in IMAGE])
    torch.testing.assert_close(module(IMAGE), expected, rtol=1e-4, atol=1e-5)
    assert set(module.state_dict()) == {
        name for name, _ in scripted.named_parameters()
    }  # no statistics are left to save
    as_declared(module, InputContract(statistics="image"))
    torch.testing.assert_close(module(IMAGE), expected, rtol=1e-4, atol=1e-5)
