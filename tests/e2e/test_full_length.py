"""benchmarks/full_length.py at a tiny scale: stops, goes on, and keeps little."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import gan_slimming as gs
from gan_slimming.models.registry import build_generator

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The script, with two tiny teachers; the weights of one are missing."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("GAN_SLIMMING_DATA", str(tmp_path))
    module = importlib.import_module("full_length")
    teachers = {n: module.Teacher("cartoongan", f"{n}*.pth") for n in ("tiny", "absent")}
    monkeypatch.setattr(module, "TEACHERS", teachers)
    torch.manual_seed(1)
    torch.save(build_generator("cartoongan", width=4, blocks=1).state_dict(), tmp_path / "tiny.pth")
    monkeypatch.setattr(
        gs, "load_generator",
        lambda name, weights: _loaded(build_generator(name, width=4, blocks=1), weights),
        raising=False,
    )  # fmt: skip
    return module


def _loaded(generator: torch.nn.Module, weights: Path) -> torch.nn.Module:
    generator.load_state_dict(torch.load(weights, weights_only=True))
    return generator


def test_it_stops_goes_on_and_keeps_small_results(
    script: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (
        "size=32,holdout=2,precision=32-true,optimisation.slim_share=0.5,objective.distill=l1"
    )
    flags = [
        "--data", str(tmp_path), "--photos", str(photos), "--output", str(tmp_path / "out"),
        "--teachers", "absent,tiny", "--steps", "4", "--macs", "0.5", "--device", "cpu",
        "--settings", settings,
    ]  # fmt: skip

    def interrupt(step: int, steps: int, terms: dict[str, float]) -> None:
        if step == 3:
            script.signal.raise_signal(script.signal.SIGALRM)

    with monkeypatch.context() as patch:
        patch.setattr(script, "tell", interrupt)
        told = script.main([*flags, "--stop-after", "60"])
    assert told["failed"] == {"absent": "no absent*.pth under --data"}
    assert (told["done"], told["left"]) == ({}, ["tiny"])
    assert not (tmp_path / "out" / "results").exists()

    record = script.main(flags)["done"]["tiny"]
    results = tmp_path / "out" / "results" / "tiny"
    assert json.loads((results / "record.json").read_text()) == record
    assert str(tmp_path) not in (results / "record.json").read_text()
    assert record["steps"] == record["settings"]["optimisation"]["steps"] == 4
    assert record["macs"] <= 0.5 * record["teacher_macs"]
    assert len(list((results / "samples").iterdir())) == 2
    assert len((results / "metrics.jsonl").read_text().splitlines()) == 4
    gs.load_generator_file(results / "generator.safetensors")

    monkeypatch.setattr(script, "train", lambda *_: pytest.fail("it was finished"))
    assert script.main([*flags, "--teachers", "tiny"])["done"]["tiny"] == record
    monkeypatch.setattr(script, "MOST_BYTES", 1000)
    with pytest.raises(SystemExit, match="more than 1,000"):
        script.check_size(results.parent)
