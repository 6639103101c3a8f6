"""A run's own judgement and evaluate's are one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import gan_slimming as gs
from gan_slimming.metrics import catalogue
from gan_slimming.models.registry import build_generator


def test_compress_and_evaluate_say_the_same(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "find_weights", lambda name: None)
    monkeypatch.setattr("gan_slimming.metrics.tracker.lpips_at_hand", lambda: None)
    teacher = build_generator("cartoongan", width=4, blocks=1)
    torch.save(teacher.state_dict(), tmp_path / "teacher.pth")
    teacher = gs.load_generator("cartoongan", tmp_path / "teacher.pth")
    summary = gs.compress(
        teacher, photos, tmp_path / "run", weights=tmp_path / "teacher.pth", size=32, holdout=2,
        budget=gs.Budget(macs=0.5), objective=gs.Objective(distill="encoder"),
        optimisation=gs.Optimisation(steps=3, discriminator_width=4), device="cpu", threads=1,
    ).summary  # fmt: skip
    metrics = ["psnr", "l1", "ssim", "colour", "dots"]
    report = gs.evaluate(tmp_path / "run", photos, split="held", size=32, metrics=metrics)
    values = {row["metric"]: row["value"] for row in report["results"]}
    for name in metrics:
        assert values[name] == pytest.approx(summary[name], rel=0.02, abs=0.02), name
    assert report["images"] == summary["protocol"]["images"]
    assert report["models"][0]["verdict"] == summary["verdict"]
    assert report["models"][0]["macs"] == summary["macs"]
    assert report["models"][0]["size_bytes"] == summary["size_bytes"]
