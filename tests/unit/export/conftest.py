"""Tiny quantised students, as extraction leaves them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gan_slimming as gs
from gan_slimming.models.registry import build_generator


@pytest.fixture(params=["cartoongan", "cyclegan"])
def student(request: pytest.FixtureRequest) -> nn.Module:
    """A registered generator of width 6 with 2 blocks and calibrated 8-bit quantisers."""
    teacher = build_generator(request.param, width=6, blocks=2).eval()
    for parameter in teacher.parameters():
        nn.init.normal_(parameter, std=0.2)
    prepared = gs.prepare(teacher, (torch.zeros(1, 3, 32, 32),))
    gs.calibrate(prepared, [(torch.rand(2, 3, 32, 32) * 2 - 1,)])
    small = gs.extract(prepared)
    small.__dict__["spec"] = teacher.spec
    return small
