"""FLIP is the authors' package, seen from outside."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest
import torch

from gan_slimming.config import UserError
from gan_slimming.metrics.flip import flip


def test_agrees_with_its_package() -> None:
    package = pytest.importorskip("flip_evaluator", reason="flip-evaluator is not installed")
    first, second = (torch.rand(2, 2, 3, 24, 32) * 2 - 1).unbind()
    arrays = [((x + 1) / 2).permute(0, 2, 3, 1).contiguous().numpy() for x in (first, second)]
    expected = [package.evaluate(b, a, "LDR")[1] for a, b in zip(*arrays, strict=True)]
    assert flip(first, second).tolist() == pytest.approx(expected, rel=1e-6)
    assert flip(first, first).tolist() == [0.0, 0.0]


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "flip_evaluator" else real(name, package)

    monkeypatch.setattr("gan_slimming.metrics.flip.find_spec", without)
    with pytest.raises(UserError, match=r"pip install 'gan-slimming\[flip\]'"):
        flip(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
