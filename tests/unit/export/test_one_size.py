"""Formats of one size: what is refused, and what their files say of themselves."""

import numpy as np
import pytest
import torch
from tests.unit.export.xnnpack_student import Net, made

from gan_slimming.errors import UserError
from gan_slimming.export.one_size import at_one_size, check_parity, metadata_at


def test_the_size_is_the_next_that_the_generator_takes() -> None:
    one = at_one_size(made(), None, 15, ".pte")
    assert (one.side, one.contract.size, one.quantized) == (16, 16, True)
    assert at_one_size(made(), "none", 16, ".pte").quantized is False
    told = metadata_at(one, ["depthwise"], {"seed": 1})
    assert told["form"] == "qdq"
    assert told["float_layers"] == ["depthwise"]
    assert "depthwise" not in told["int8_layers"]
    assert len(told["int8_layers"]) == told["quantized_layers"] - 1


def test_int8_without_quantisers_and_noise_are_refused() -> None:
    with pytest.raises(UserError, match="no quantised layers for --quantization qdq; take none"):
        at_one_size(Net().eval(), "qdq", 16, ".pte")


class Noisy(Net):
    """A generator that draws noise."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        values = super().forward(image)
        return values + torch.randn_like(values)


def test_noise_is_refused_with_the_format() -> None:
    with pytest.raises(UserError, match=r"draws noise, which a .tflite file cannot"):
        at_one_size(Noisy().eval(), None, 16, ".tflite")


def test_another_image_or_layer_is_no_parity() -> None:
    one = at_one_size(made(), None, 16, ".tflite")

    def draw(_: object) -> np.ndarray:
        return np.zeros((1, 3, 16, 16), np.float32)

    def layers(_: object, given: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
        return [np.zeros(1, np.float32) for _ in given]

    with pytest.raises(UserError, match=r"the int8 layer .* in LiteRT; nothing is written"):
        check_parity(one, "litert", draw, layers, [])
    with pytest.raises(UserError, match="the int8 file's image differs"):
        check_parity(one, "litert", draw, layers, list(one.traced.layers))
