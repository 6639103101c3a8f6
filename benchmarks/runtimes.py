"""Time teacher and student in every runtime, side by side, in one run.

    python benchmarks/runtimes.py --threads 2 --output runtimes.json \\
        --pair cartoongan:Hayao_net_G_float.pth runs/hayao --fresh cyclegan

For each pair it reports latencies in torch, ONNX Runtime and OpenVINO, and the speed-ups of the
student's int8 with their aims. Compare the ratios; the milliseconds depend on the machine. Nothing
else should run at the same time. A --fresh pair has random weights, for a network without trained
ones: its student is cut to --macs at random gates and calibrated, but not trained. Latency does not
depend on weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import gan_slimming as gs
from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.runtime.sessions import RUNTIMES
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.training.budget import BudgetController
from gan_slimming.workflows.benchmark import benchmark, print_table

Key = tuple[str, str, str]
"""teacher or student, runtime, precision."""
STUDENT: Key = ("student", "openvino", "int8")
RATIOS: tuple[tuple[Key, Key, float], ...] = (
    (("teacher", "torch", "f32"), STUDENT, 40),
    (("teacher", "openvino", "f32"), STUDENT, 28),
    (("teacher", "openvino", "bf16"), STUDENT, 14),
    (("teacher", "openvino", "bf16"), ("student", "openvino", "int8-bf16"), 14),
    (("student", "openvino", "f32"), STUDENT, 2.5),
    (("student", "onnxruntime", "f32"), ("student", "onnxruntime", "int8"), 1.8),
)
"""Slow, fast, and the aim of their ratio."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--pair", nargs=2, action="append", default=[], metavar=("TEACHER", "STUDENT")
    )
    parser.add_argument("--fresh", action="append", default=[], metavar="NAME")
    parser.add_argument("--macs", default="0.05", help="of the teacher's, for --fresh students")
    parser.add_argument("--width-multiple", type=int, default=16, help="for --fresh students")
    parser.add_argument("--quantize-outputs", action="store_true", help="of --fresh students")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--layers", action="store_true", help="add the time of each layer")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    versions = {name: version(name) for name in (*RUNTIMES, "torch")}
    with tempfile.TemporaryDirectory() as folder:
        fresh = [fresh_pair(name, Path(folder), given) for name in given.fresh]
        pairs = [measure_pair(a, b, given) for a, b in [*given.pair, *fresh]]
    told = {"runtimes": versions, "pairs": pairs}
    text = json.dumps(told, indent=2)
    if given.output:
        given.output.write_text(text + "\n")
    print(text)


def fresh_pair(name: str, folder: Path, given: argparse.Namespace) -> tuple[str, str]:
    """Save a registered generator with random weights and its student at the budget."""
    torch.manual_seed(0)
    teacher = build_generator(name).eval()
    weights, student = folder / f"{name}.safetensors", folder / f"{name}-student.safetensors"
    save_file(teacher.state_dict(), weights)
    image = (torch.rand(1, spec_of(teacher).contract.channels, given.size, given.size) * 2 - 1,)
    prepared = gs.prepare(teacher, image, quantize_outputs=given.quantize_outputs)
    with torch.no_grad():
        for gate in prepared.gates:
            gate.copy_(torch.rand_like(gate) + 0.1)
    budget, multiple = gs.Budget(macs=given.macs), given.width_multiple
    controller = BudgetController(prepared, budget, 8, steps=1, floor=0.75, multiple=multiple)
    controller.threshold_step(prepared, 1)
    gs.calibrate(prepared, [image])
    save_generator(gs.extract(prepared), student, spec_of(teacher))
    return f"{name}:{weights}", str(student)


def measure_pair(teacher: str, student: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return the measurements of one teacher and its student, and their ratios."""
    report = benchmark(
        [teacher, student],
        size=given.size,
        threads=given.threads,
        rounds=given.rounds,
        runtimes=("torch", *(["torch.compile"] if given.compile else []), *RUNTIMES),
        precisions=("f32", "bf16", "int8", "int8-bf16"),
        layers=given.layers,
    )
    print_table(report)
    names = {teacher: "teacher", student: "student"}
    rows = {(names[r["model"]], r["runtime"], r["precision"]): r for r in report["measurements"]}
    ratios = [
        {
            "slow": " ".join(slow),
            "fast": " ".join(fast),
            "ratio": rows[slow]["latency_ms"] / rows[fast]["latency_ms"],
            "ratio_of_best": rows[slow]["best_ms"] / rows[fast]["best_ms"],
            "aim": aim,
        }
        for slow, fast, aim in RATIOS
        if slow in rows and fast in rows
    ]
    return {"teacher": teacher, "student": student, "ratios": ratios, **report}


if __name__ == "__main__":
    main()
