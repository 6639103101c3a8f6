"""The released Hayao generator, for a few steps, on real photos."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

import gan_slimming as gs

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def test_a_few_steps_stay_finite_and_end_within_the_budget(data_root: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for file in sorted((data_root / "photos256").rglob("*.jpg"))[:8]:
        shutil.copy(file, photos)
    teacher = gs.load_generator("cartoongan", data_root / "cartoongan" / "Hayao_net_G_fp16.pth")
    run = gs.Run(
        budget=gs.Budget(macs=0.1),
        objective=gs.Objective(distill="encoder"),
        optimisation=gs.Optimisation(steps=6, slim_share=0.5, batch_size=1),
        size=64,
        holdout=2,
        device="cpu",
        threads=1,
    )
    summary = gs.compress(teacher, photos, tmp_path / "run", run).summary
    assert 0.098 <= summary["macs"] / summary["teacher_macs"] <= 0.1
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert all(math.isfinite(value) for line in lines for value in json.loads(line).values())
    assert summary["size_bytes"] < summary["teacher_size_bytes"] / 10
