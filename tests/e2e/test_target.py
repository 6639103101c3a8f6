"""compress to a quality and to a time that the user states, on a tiny generator."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import gan_slimming as gs
from gan_slimming.models.registry import build_generator
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.training.search import TargetWarning

HELD_OUT = 8


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve smooth images of 40x36 pixels."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for i in range(HELD_OUT + 4):
        coarse = random.integers(0, 256, (6, 7, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((40, 36)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def teacher() -> nn.Module:
    torch.manual_seed(1)
    return build_generator("cartoongan", width=8, blocks=1)


def settings(target: gs.Target | None = None, **optimisation: Any) -> gs.Run:
    given: dict[str, Any] = {
        "slim_share": 0.3, "batch_size": 1, "discriminator_width": 2, "replay": 2, "warmup": 2,
    } | optimisation  # fmt: skip
    return gs.Run(
        target=target or gs.Target(),
        objective=gs.Objective(distill="l1"),
        optimisation=gs.Optimisation(**given),
        size=32,
        holdout=HELD_OUT,
        device="cpu",
        precision="32-true",
        threads=1,
    )


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def looks_of(folder: Path) -> list[dict[str, Any]]:
    return [row for row in rows_of(folder) if "met" in row]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return gs.load_generator_file(folder / "generator.safetensors").state_dict()


def check_same(one: Path, other: Path) -> None:
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(tensor, second[name]), name


def interrupting(at: int) -> Any:
    def on_step(step: int, total: int, terms: dict[str, float]) -> None:
        if step == at:
            signal.raise_signal(signal.SIGINT)

    return on_step


def test_the_smallest_student_that_meets_the_target_is_handed_out(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    run = settings(gs.Target(psnr=16), steps=16)
    summary = gs.compress(teacher, photos, tmp_path / "run", run).summary
    found, looks = summary["target"], looks_of(tmp_path / "run")
    assert found["met"] is True
    met = [look for look in found["curve"] if look["met"]]
    assert summary["macs"] == min(look["macs"] for look in met) < summary["teacher_macs"]
    # The final judgement is on the same images, by the same code.
    assert summary["psnr"] == found["reached"] >= 16
    assert [look["step"] for look in found["curve"]] == [row["step"] for row in looks]
    assert [look["met"] for look in found["curve"]] == [row["met"] == 1 for row in looks]
    for look, row in zip(found["curve"], looks, strict=True):
        assert (look["macs"], look["value"]) == (row["macs"], pytest.approx(row["psnr"], rel=1e-5))
    assert [row["step"] for row in rows_of(tmp_path / "run")] == list(range(17))
    page = (tmp_path / "run" / "report.html").read_text()
    assert "PSNR against cost" in page
    assert found["text"].removeprefix("target") in page.replace("&#39;", "'")


def test_an_unreachable_target_ends_with_the_best_found_and_says_so(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    run = settings(gs.Target(psnr=90), steps=4)
    with pytest.warns(TargetWarning, match=r"target\.psnr 90 was not reached: the best student"):
        done = gs.compress(teacher, photos, tmp_path / "run", run)
    found = done.summary["target"]
    assert found["met"] is False
    values = [look["value"] for look in found["curve"]]
    assert done.summary["psnr"] == found["reached"] == max(values)
    assert done.summary["macs"] == done.summary["teacher_macs"]


def test_a_run_by_the_clock_is_repeated_from_its_record_bit_for_bit(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    run, budget = settings(minutes=0.02), gs.Budget(macs=0.5)
    with pytest.raises(gs.Interrupted, match=r"after step 3, \d+% of 0\.02 minutes"):
        gs.compress(teacher, photos, tmp_path / "run", run, budget=budget, on_step=interrupting(3))
    summary = gs.compress(
        teacher, photos, tmp_path / "run", run, budget=budget, resume=True
    ).summary
    rows = rows_of(tmp_path / "run")
    assert summary["steps"] == len(rows) > 3
    assert rows[-1]["progress"] == 1.0
    assert summary["macs"] <= summary["teacher_macs"] / 2
    positions = RunFolder(tmp_path / "run").read_positions()
    again = gs.compress(
        teacher, photos, tmp_path / "again", run, budget=budget, positions=positions
    )
    check_same(tmp_path / "run", tmp_path / "again")
    assert again.summary["steps"] == summary["steps"]


def test_too_few_held_out_images_are_refused_before_anything_is_made(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(gs.UserError, match=r"target\.psnr is judged on at least 8 held-out"):
        gs.compress(
            teacher, photos, tmp_path / "run", settings(gs.Target(psnr=22), steps=2), holdout=3
        )
    assert not (tmp_path / "run").exists()
