"""evaluate on real photos and published outputs: directions, known figures, bounded memory."""

from __future__ import annotations

from itertools import pairwise as neighbours
from pathlib import Path

import pytest
import torch
from benchmarks.damages import DAMAGES, MODES, PAIRED, between_sets, load, paired

import gan_slimming as gs
from gan_slimming.metrics.catalogue import METRICS, missing_for

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

BLIND = {
    ("ssim", "hue (degrees)"),
    ("dots", "noise (8-bit levels)"),
    ("dots", "blur (sigma in pixels)"),
    ("dots", "hue (degrees)"),
    ("dots", "brightness (8-bit levels)"),
    ("colour", "noise (8-bit levels)"),
    ("colour", "blur (sigma in pixels)"),
    ("colour", "dots (8-bit levels)"),
}
"""What docs/evaluate.md says that a metric hardly sees: it need not grow there."""


def photos(data_root: Path, count: int) -> torch.Tensor:
    paths = sorted((data_root / "photos256").rglob("*.jpg"))
    return load(paths[:: len(paths) // count][:count])


@pytest.mark.parametrize("name", PAIRED)
def test_more_damage_is_worse(data_root: Path, name: str) -> None:
    if lacking := missing_for(METRICS[name]):
        pytest.skip(f"{lacking} is not on this machine")
    sign = 1 if METRICS[name].direction == "lower" else -1
    for damage, values in paired(name, photos(data_root, 6)).items():
        if (name, damage) not in BLIND:
            assert all(sign * a < sign * b for a, b in neighbours(values)), (damage, values)


def test_sets_move_away_from_real_ones(data_root: Path) -> None:
    found = between_sets(photos(data_root, 160))
    for damage in DAMAGES:
        for name in ("frechet", "kid"):
            values = found[name][damage]
            if (name, damage) != ("frechet", "brightness (8-bit levels)"):  # hardly seen
                assert values[-1] > values[0], (name, damage, values)
    modes = "fewer modes (share of photos)"
    assert len(found["recall"][modes]) == len(MODES)
    assert found["frechet"][modes][-1] > found["frechet"][modes][0]
    assert found["recall"][modes][-1] < 0.5 * found["recall"][modes][0]


def test_zebras_of_the_full_cyclegan(data_root: Path, tmp_path: Path) -> None:
    """SqueezeNet takes 30 of these 40 for zebras; 72 % of all 50."""
    for path in sorted((data_root / "horse2zebra_test").glob("*.png")):
        stem, _, kind = path.stem.rpartition("_")
        (tmp_path / kind).mkdir(exist_ok=True)
        (tmp_path / kind / f"{stem}.png").symlink_to(path)
    report = gs.evaluate(
        [tmp_path / "fake", tmp_path / "real"], metrics=["class_rate"], target_class="zebra"
    )
    fake, real = report["results"]
    assert fake["images"] == 40
    assert fake["value"] == pytest.approx(0.75, abs=0.051)
    assert fake["low"] < 0.72 < fake["high"]
    assert real["value"] <= 0.06
