"""FLIP is the authors' own, where it is installed."""

from __future__ import annotations

import pytest
import torch

from gan_slimming.metrics import flip as module
from gan_slimming.metrics.flip import flip, flip_at_hand


def test_without_the_package_there_is_no_flip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert flip_at_hand() is None


def test_flip_equals_the_package_and_grows_with_the_damage() -> None:
    package = pytest.importorskip("flip_evaluator", reason="flip-evaluator is not installed")
    image = torch.rand(2, 3, 24, 40) * 1.6 - 0.8
    noise = torch.randn_like(image)
    assert flip(image, image).tolist() == [0.0, 0.0]
    made = image + 0.1 * noise
    found = flip(made, image)
    arrays = [((x[1].clamp(-1, 1) + 1) / 2).permute(1, 2, 0).numpy() for x in (image, made)]
    assert float(found[1]) == pytest.approx(package.evaluate(*arrays, "LDR")[1], abs=1e-6)
    assert flip_at_hand() is flip
    worse = flip(image + 0.3 * noise, image)
    assert (found > 0).all()
    assert (found < worse).all()
