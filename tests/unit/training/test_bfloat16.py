"""Convolutions that are others in bfloat16 are found, whatever this CPU does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.training.bfloat16 import wrong_in_bfloat16


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_convolution_that_is_another_one_in_bfloat16_is_named(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "conv_transpose2d" if kind is nn.ConvTranspose2d else "conv2d"
    exact = getattr(F, name)

    def faulty(values: Tensor, weight: Tensor, *rest: Any, **how: Any) -> Tensor:
        made = exact(values, weight, *rest, **how)
        if values.dtype == torch.bfloat16 and weight.shape[-1] == 6 and values.shape[1] == 16:
            made = made.flip(-1)
        return made

    monkeypatch.setattr(F, name, faulty)
    usual = nn.Sequential(kind(3, 8, 3), kind(8, 8, (3, 7)), nn.Conv2d(8, 8, 6, groups=8))
    assert wrong_in_bfloat16(usual) == ""
    assert wrong_in_bfloat16(nn.Sequential(usual, kind(8, 3, 6, stride=2))) == "6x6 at stride 2"
