"""The records of a run for its report, in small files beside metrics.jsonl.

gates.jsonl      during slimming: the channels left in each group, and a histogram of their gates
held_out.jsonl   at the end: the distances of every held-out image, and the file of its sample
ranges.json      at the end: ranges and clipping of each quantised layer
layers.json      at the end: the cost of each layer of teacher and student
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from gan_slimming.data.inputs import Generate
from gan_slimming.metrics.complexity import Complexity
from gan_slimming.metrics.tracker import Row, Tracker
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.student.ranges import observed_ranges
from gan_slimming.student.student import Student

GATE_TIMES = 40
"""Approximate number of gate records during slimming."""
GATE_DECADES = (-3.0, 1.0)
"""Limits of histograms as log10 |gate|; values outside count into the first or last bin."""
GATE_BINS = 24
SHOWN = 12
"""Most held-out images kept as samples: the worst, the best and some in the middle."""


def gate_record(student: Student) -> dict[str, Any]:
    """Return the channels left in each prunable group, and the histogram of all gates."""
    alive = student.alive()
    gates = [gate.detach().flatten().float().cpu().abs() for gate in student.gates]
    values = torch.cat(gates) if gates else torch.zeros(0)
    decades = values[values > 0].log10().clamp(*GATE_DECADES)
    counts = torch.histc(decades, GATE_BINS, *GATE_DECADES) if len(decades) else decades
    return {
        "kept": {name: int(mask.sum()) for name, mask in alive.items()},
        "decades": list(GATE_DECADES),
        "counts": [int(count) for count in counts] or [0] * GATE_BINS,
    }


def log_gates(
    folder: RunFolder, student: Student, step: int, seconds: float, slim_steps: int
) -> None:
    """Append to gates.jsonl at about GATE_TIMES of the steps from 1 to `slim_steps` - 1."""
    every = max(1, slim_steps // GATE_TIMES)
    if step < slim_steps and (step - 1) % every == 0:
        folder.append_gates({"step": step, "seconds": round(seconds, 3), **gate_record(student)})


def record_held_out(
    folder: RunFolder, tracker: Tracker, generator: nn.Module, generate: Generate
) -> list[Row]:
    """Measure every held-out image; write distances, samples, ranges and clipping.

    Args:
        generator: the final student; `generate` is the same with RGB inputs and outputs.
    Returns:
        The distances of each image.
    """
    with observed_ranges(generator) as ranges:
        rows = tracker.each(generate)
    shown = chosen(rows)
    samples = tracker.write_samples(generate, folder.samples, shown)
    files = dict(zip(shown, samples, strict=True))
    lines = [
        {"name": name, **{k: float(f"{v:.6g}") for k, v in row.items()}, "sample": files.get(i)}
        for i, (name, row) in enumerate(zip(tracker.names, rows, strict=True))
    ]
    folder.write_lines(folder.held_out, lines)
    folder.write_json(folder.ranges, [asdict(found) for found in ranges if found.count])
    return rows


def chosen(rows: Sequence[Mapping[str, float]], most: int = SHOWN) -> list[int]:
    """Return at most `most` indices in order: a third worst, a third best, a third in the middle.

    The worst and best are taken by LPIPS and FLIP in turn if measured, else by the spectral
    distance of waveforms, else by PSNR. The middle is
    that of the first of these metrics.
    """
    if len(rows) <= most:
        return list(range(len(rows)))
    measures = [name for name in ("lpips", "flip") if name in rows[0]] or [
        "spectral" if "spectral" in rows[0] else "psnr"
    ]
    orders = [_worst_first(rows, measure) for measure in measures]
    third = most // 3
    worst = _in_turn(orders, third, set())
    best = _in_turn([order[::-1] for order in orders], third, worst)
    rest = [i for i in orders[0] if i not in worst | best]
    start = (len(rest) - (most - 2 * third)) // 2
    return sorted(worst | best | set(rest[start : start + most - 2 * third]))


def _worst_first(rows: Sequence[Mapping[str, float]], measure: str) -> list[int]:
    sign = 1 if measure == "psnr" else -1
    return sorted(range(len(rows)), key=lambda i: sign * rows[i][measure])


def _in_turn(orders: Sequence[Sequence[int]], count: int, taken: Set[int]) -> set[int]:
    """Return the first `count` indices of several orders in turn, except those in `taken`."""
    mixed = (i for heads in zip(*orders, strict=True) for i in heads)
    fresh = dict.fromkeys(i for i in mixed if i not in taken)
    return set(itertools.islice(fresh, count))


def write_layers(folder: RunFolder, teacher: Complexity, student: Complexity) -> None:
    """Write layers.json: name, kind, macs and parameters of each layer of teacher and student."""
    keys = ("name", "kind", "macs", "parameters")
    sides = {"teacher": teacher, "student": student}
    folder.write_json(folder.layers, {
        side: [{key: getattr(layer, key) for key in keys} for layer in cost.layers]
        for side, cost in sides.items()
    })  # fmt: skip
