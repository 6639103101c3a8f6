"""ColorVideoVDP: frames reach the package in clips, in order, in bytes, at the video's rate."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_slimming.errors import UserError
from gan_slimming.metrics import cvvdp
from gan_slimming.metrics.cvvdp import CLIP, VideoQuality

CPU = torch.device("cpu")


class Recorder:
    """Stands in for the package, which needs torchvision."""

    calls: list[tuple[Tensor, Tensor, dict[str, Any]]] = []  # noqa: RUF012

    def __init__(self, **given: Any) -> None:
        assert given == {"display_name": "standard_4k", "quiet": True, "device": CPU}

    def predict(self, made: Tensor, reference: Tensor, **how: Any) -> tuple[Tensor, None]:
        self.calls.append((made, reference, how))
        difference = (made.float() - reference.float()).abs().mean()
        return 10 - difference, None


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    module = ModuleType("pycvvdp")
    module.cvvdp = Recorder  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "pycvvdp", module)
    monkeypatch.setattr(cvvdp, "cvvdp_installed", lambda: True)
    monkeypatch.setattr(Recorder, "calls", [])
    return Recorder


def test_clips_hold_every_frame_once_in_order(package: type[Recorder]) -> None:
    frames = torch.rand(2 * CLIP + 20, 3, 4, 4) * 2 - 1
    quality = VideoQuality(25.0, CPU)
    values = [quality.add(part, part) for part in frames.split(7)]
    values.append(quality.rest())
    assert torch.cat(values).tolist() == [10.0] * 3
    seen = torch.cat([made for made, _, _ in package.calls])
    assert seen.dtype == torch.uint8
    assert torch.equal(seen, ((frames + 1) * 127.5).round().to(torch.uint8))
    assert all(how == {"dim_order": "FCHW", "frames_per_second": 25.0} for *_, how in package.calls)
    assert len(quality.rest()) == 0


@pytest.mark.parametrize(("frames", "clips"), [(2, 1), (CLIP + 2, 1), (CLIP + CLIP // 2, 2)])
def test_a_short_rest_counts_only_alone(package: type[Recorder], frames: int, clips: int) -> None:
    quality = VideoQuality(30.0, CPU)
    made = torch.full((frames, 3, 4, 4), -1.0)
    values = torch.cat([quality.add(made, made + 2 / 255), quality.rest()])
    assert len(values) == clips == len(package.calls)
    assert values.tolist() == pytest.approx([9.0] * clips)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cvvdp, "cvvdp_installed", lambda: False)
    with pytest.raises(UserError, match="pip install cvvdp torchvision"):
        VideoQuality(30.0, CPU)
