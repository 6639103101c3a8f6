"""Run folders as compress leaves them, without a training: for tests of what reads them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import torch

from gan_slimming.config import Budget, Optimisation, Run
from gan_slimming.data.image_files import write_image
from gan_slimming.models import build_generator, spec_of
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.serialization.provenance import environment
from gan_slimming.serialization.run_folder import RunFolder

CHANNELS = {"first": 8, "blocks.0.second": 4}
STEPS = 40


def run_under_way(folder: Path, steps: int = STEPS, seed: int = 0) -> Path:
    """Settings and some steps, a tenth of them slimming, the next line only begun."""
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(
        budget=Budget(macs=0.05), optimisation=Optimisation(steps=STEPS, slim_share=0.25), seed=seed
    )
    RunFolder(folder).write_config({
        "generator": {"name": "cartoongan", "arguments": {"width": 2, "blocks": 1}},
        "data": str(folder), "distance": "lpips", "channels": CHANNELS,
        "run": dataclasses.asdict(run), "environment": environment(),
    })  # fmt: skip
    lines, gates = [], []
    for step in range(1, steps + 1):
        line = {"distance": 1 / step, "pixel": 0.1, "features": 0.0 if step < 10 else 0.3,
                "adversarial": 0.5, "critic": 0.4}  # fmt: skip
        if step < 10:
            line |= {"rho": 3 / step, "macs": 2000 // step, "parameters": 900 // step}
            kept = {name: max(1, width - step) for name, width in CHANNELS.items()}
            counts = [step] * 4
            gates.append({"step": step, "seconds": step / 2, "kept": kept,
                          "decades": [-3.0, 1.0], "counts": counts})  # fmt: skip
        if step % 10 == 0:
            line |= {"psnr": 20 + step / 4, "l1": 1 / step, "lpips": 2 / step + seed / 100}
        lines.append(line | {"step": step, "seconds": step * 30.0})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"step": 99, "dist')
    (folder / "gates.jsonl").write_text("".join(json.dumps(line) + "\n" for line in gates))
    return folder


def finished_run(folder: Path, *, seed: int = 0, side: int = 32, held_out: int = 5) -> Path:
    """A whole run folder: samples of `side` pixels, held-out distances, ranges, costs."""
    run_under_way(folder, seed=seed)
    save_generator(
        small := build_generator("cartoongan", width=2, blocks=1),
        folder / "generator.safetensors",
        spec_of(small),
        channel_map={"first": [1, 2, 5], "blocks.0.second": [0]},
    )
    (folder / "samples").mkdir()
    rows = []
    for i in range(held_out):
        name = f"{i:02d}_input_teacher_student.png"
        write_image(folder / "samples" / name, _strip(side, i, 0.03 * (i + 1 + seed)))
        rows.append({"name": f"photo{i}.jpg", "psnr": 30.0 - i, "l1": 0.02 * i,
                     "lpips": 0.1 * i + 0.01, "flip": 0.4 - 0.05 * i, "sample": name})  # fmt: skip
    (folder / "held_out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    layer = {"layer": "first", "low": -1.0, "high": 1.0, "bits": 8, "weight_low": -0.5,
             "weight_high": 0.4, "weight_bits": 7, "weight_zeros": 0.25, "seen_low": -0.5,
             "seen_high": 1.5, "clipped_low": 0.0, "clipped_high": 0.0125,
             "count": 100}  # fmt: skip
    (folder / "ranges.json").write_text(json.dumps([layer]))
    costs = {"name": "first", "kind": "Conv2d", "macs": 2000, "parameters": 900}
    layers = {"teacher": [costs], "student": [costs | {"macs": 100, "parameters": 60}]}
    (folder / "layers.json").write_text(json.dumps(layers))
    (folder / "summary.json").write_text(json.dumps(summary_of(folder, seed)))
    return folder


def summary_of(folder: Path, seed: int = 0) -> dict[str, object]:
    """What a finished run says of itself."""
    return {
        "teacher_macs": 2000,
        "macs": 100 * (seed + 1),
        "teacher_parameters": 900,
        "parameters": 60,
        "teacher_size_bytes": 3600,
        "size_bytes": 90 * (seed + 1),
        "bits": 8,
        "steps": STEPS,
        "seconds": STEPS * 30.0,
        "lpips": 0.25 / (seed + 1),
        "psnr": 20.0 + seed,
        "l1": 0.1,
        "protocol": {"images": 5, "against": "the teacher's output in float32"},
        "report": str(folder / "report.html"),
    }


def _strip(side: int, number: int, apart: float) -> torch.Tensor:
    """Input, teacher and student side by side: (3, side, 3 * side)."""
    ramp = torch.linspace(-0.8, 0.8, side)
    wave = torch.sin(ramp * math.pi * (number + 1)) * 0.5
    image = torch.stack([ramp[:, None] + wave * 0.3, wave[:, None] + ramp * 0.2,
                         (ramp[:, None] - ramp) * 0.4])  # fmt: skip
    return torch.cat([image.flip(0), image, image + apart], dim=2)
