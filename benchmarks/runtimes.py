"""What the int8 file is worth: teacher and student in every runtime, side by side, in one run.

    python benchmarks/runtimes.py --threads 2 --output runtimes.json \\
        --pair cartoongan:Hayao_net_G_float.pth runs/hayao --pair cyclegan:horse.pth runs/horse

For each pair of teacher and student: their times in torch, ONNX Runtime and OpenVINO, and how many
times faster the student's int8 is, beside the aim. Read the ratios; the milliseconds belong to the
machine. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gan_slimming.runtimes import RUNTIMES
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
"""Slow, fast, and how many times faster it is meant to be."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--pair", nargs=2, action="append", required=True, metavar=("TEACHER", "STUDENT")
    )
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--layers", action="store_true", help="and the time of each layer")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    versions = {name: version(name) for name in (*RUNTIMES, "torch")}
    told = {"runtimes": versions, "pairs": [measure_pair(a, b, given) for a, b in given.pair]}
    text = json.dumps(told, indent=2)
    if given.output:
        given.output.write_text(text + "\n")
    print(text)


def measure_pair(teacher: str, student: str, given: argparse.Namespace) -> dict[str, Any]:
    """All that is measured of one teacher and its student, and what follows from it."""
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
