"""What a run writes down for its report: gates, held-out distances, ranges, layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.folder import ImageSet
from gan_slimming.metrics import tracker as module
from gan_slimming.metrics.complexity import count
from gan_slimming.metrics.tracker import Tracker, means
from gan_slimming.models import CartoonGenerator
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract, set_gates
from gan_slimming.training.records import (
    GATE_BINS,
    chosen,
    gate_record,
    log_gates,
    record_held_out,
    write_layers,
)

EXAMPLE = (torch.zeros(1, 3, 32, 32),)


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, neither LPIPS nor FLIP is at hand."""
    monkeypatch.setattr(module, "lpips_at_hand", lambda: None)
    monkeypatch.setattr(module, "flip_installed", lambda: False)


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_gates_are_counted_by_size_and_by_group(tiny_cartoongan: CartoonGenerator) -> None:
    student = prepare(tiny_cartoongan, EXAMPLE)
    groups = student.graph.prunable
    gates = {g.name: torch.full((g.channels,), 0.1001) for g in groups}
    gates[groups[0].name][:] = torch.tensor([0.0, 1e-9, 99.0, 1.001])[: groups[0].channels]
    with torch.no_grad():
        for gate, group in zip(student.gates, groups, strict=True):
            gate.copy_(gates[group.name])
    found = gate_record(student)
    assert found["kept"][groups[0].name] == 3
    assert found["kept"][groups[1].name] == groups[1].channels
    counts = found["counts"]
    others = sum(g.channels for g in groups[1:])
    assert len(counts) == GATE_BINS
    assert (counts[0], counts[-1]) == (1, 1)  # what lies outside counts into the last bins
    assert (counts[12], counts[18]) == (others, 1)  # 0.1 and 1, six bins a decade
    assert sum(counts) == others + 3


def test_gates_are_written_down_now_and_then_while_slimming(
    tiny_cartoongan: CartoonGenerator, tmp_path: Path
) -> None:
    student = prepare(tiny_cartoongan, EXAMPLE)
    for step in range(1, 121):
        log_gates(RunFolder(tmp_path), student, step, step * 0.5, slim_steps=100)
    lines = lines_of(tmp_path / "gates.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 100, 2))
    assert lines[3]["seconds"] == 3.5


def test_writing_down_changes_nothing(tiny_cartoongan: CartoonGenerator, tmp_path: Path) -> None:
    student = prepare(tiny_cartoongan, EXAMPLE)
    before = {k: v.clone() for k, v in student.state_dict().items() if torch.is_tensor(v)}
    random = torch.get_rng_state()
    log_gates(RunFolder(tmp_path), student, 1, 0.0, slim_steps=5)
    assert torch.equal(random, torch.get_rng_state())
    for name, tensor in before.items():
        assert torch.equal(tensor, student.state_dict()[name])


def rows(*values: tuple[float, float]) -> list[dict[str, float]]:
    return [{"lpips": lpips, "flip": flip, "psnr": 1.0} for lpips, flip in values]


def test_the_worst_and_the_best_of_both_measures_are_shown() -> None:
    values = [(0.5, 0.5)] * 30
    values[3], values[7], values[11], values[13] = (0.9, 0.5), (0.1, 0.5), (0.5, 0.9), (0.5, 0.1)
    found = chosen(rows(*values), most=6)
    assert {3, 7, 11, 13} <= set(found)
    assert len(found) == 6
    assert found == sorted(found)


def test_without_such_measures_psnr_decides() -> None:
    found = chosen([{"psnr": float((7 * i) % 20)} for i in range(20)], most=6)
    psnrs = sorted((7 * i) % 20 for i in found)
    assert psnrs[:2] == [0, 1]
    assert psnrs[-2:] == [18, 19]
    assert 7 <= psnrs[2] < psnrs[3] <= 12


def test_few_images_are_all_shown() -> None:
    assert chosen([{"psnr": 1.0}] * 5) == [0, 1, 2, 3, 4]


def test_every_held_out_image_is_measured_and_the_samples_are_named(
    tiny_cartoongan: CartoonGenerator, tmp_path: Path
) -> None:
    student = prepare(tiny_cartoongan, EXAMPLE)
    set_gates(student, {g.name: torch.ones(g.channels) for g in student.graph.prunable})
    small = extract(student)
    pixels = torch.randint(0, 256, (15, 3, 32, 32), generator=torch.Generator().manual_seed(3))
    names = tuple(Path(f"photos/{i}.jpg") for i in range(15))
    held = ImageSet(pixels.to(torch.uint8), torch.arange(15), names)
    teacher, adapted = (GeneratorAdapter(g, InputContract()) for g in (tiny_cartoongan, small))
    tracker = Tracker(held, teacher, torch.device("cpu"))
    rows = record_held_out(RunFolder(tmp_path), tracker, small, adapted)
    lines = lines_of(tmp_path / "held_out.jsonl")
    assert [line["name"] for line in lines] == [f"{i}.jpg" for i in range(15)]
    assert means(rows).items() >= tracker(adapted).items()
    assert [line["psnr"] for line in lines] == pytest.approx(
        [row["psnr"] for row in rows], rel=1e-5
    )
    shown = [line["sample"] for line in lines if line["sample"]]
    assert shown == sorted(file.name for file in (tmp_path / "samples").iterdir())
    assert len(shown) == 12
    ranges = json.loads((tmp_path / "ranges.json").read_text())
    layers = [n for n, m in small.named_modules() if hasattr(m, "input_quantizer")]
    assert {row["layer"] for row in ranges} == set(layers)
    write_layers(RunFolder(tmp_path), count(tiny_cartoongan, EXAMPLE), count(small, EXAMPLE))
    costs = json.loads((tmp_path / "layers.json").read_text())
    assert sum(row["macs"] for row in costs["teacher"]) == count(tiny_cartoongan, EXAMPLE).macs
    assert [row["name"] for row in costs["student"]] == [row["name"] for row in costs["teacher"]]


def test_a_generator_in_float_has_no_ranges(tmp_path: Path) -> None:
    plain = nn.Conv2d(3, 3, 1)
    held = ImageSet(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.arange(2),
                      (Path("a"), Path("b")))  # fmt: skip
    tracker = Tracker(held, lambda x: x, torch.device("cpu"))
    record_held_out(RunFolder(tmp_path), tracker, plain, lambda x: plain(x))
    assert json.loads((tmp_path / "ranges.json").read_text()) == []
