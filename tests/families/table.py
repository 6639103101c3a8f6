"""What becomes of each family of generators, from inspect to int8 files, by the commands' own JSON.

    python -m tests.families.table --output results/families.json

Weights are random: this shows what goes through, and says nothing of quality. Families that the
record has already are kept.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.families.families import FAMILIES, SIZE, factory_of, teacher_of

from gan_slimming.cli import main as command
from gan_slimming.models.registry import infer_spec
from gan_slimming.serialization.provenance import environment

BUDGET, ATTENTION = 0.5, 0.7
"""Shares of the MACs that are asked for; the second where much of the work is attention."""
ATTENTIVE = {"transformer (SwinIR)", "self-attention (SAGAN)"}
"""Families in which it is: products of activations, which no cut makes cheaper."""
STEPS = 4


def main() -> None:
    """Try all families; the last line is JSON."""
    made = argparse.ArgumentParser(description="Try all commands on each family of generators.")
    made.add_argument("--output", type=Path, required=True, help="record, a .json file")
    options = made.parse_args()
    rows = json.loads(options.output.read_text())["families"] if options.output.exists() else {}
    for family in FAMILIES:
        if family not in rows:
            rows[family] = row_of(family)
            options.output.write_text(json.dumps(record_of(rows), indent=2) + "\n")
        print(family, json.dumps(rows[family]), file=sys.stderr, flush=True)
    print(json.dumps(record_of(rows)))


def record_of(rows: dict[str, Any]) -> dict[str, Any]:
    """Return the record: the rows, and how they were made."""
    return {
        "protocol": {"size": SIZE, "steps": STEPS, "weights": "random"},
        "families": rows,
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment(),
    }


def row_of(family: str) -> dict[str, Any]:
    """Return what inspect, compress and export say of a family.

    Raises:
        RuntimeError: one of them failed.
    """
    generator = ["--generator", factory_of(family)]
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        photos, run = place / "photos", str(place / "run")
        write_photos(photos)
        budget = ATTENTION if family in ATTENTIVE else BUDGET
        flags = {
            "data": photos, "size": SIZE, "steps": STEPS, "budget.macs": budget, "holdout": 2,
            "device": "cpu", "threads": 1, "output": run,
        }  # fmt: skip
        if infer_spec(teacher_of(family)).contract.latent_size:
            del flags["data"], flags["size"]
            flags["latents"] = 8
        words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        done = json_of(["compress", *generator, *words])
        row = {
            "teacher_macs": done["teacher_macs"],
            "macs": done["macs"],
            "prunable": prunable_share(generator),
        }
        for format_, more in {"onnx": ["--quantization", "integer"], "openvino": []}.items():
            output = str(place / {"onnx": "g.onnx", "openvino": "g.xml"}[format_])
            file = json_of(["export", run, *generator, "--output", output, *more])
            parity = file["parity"][{"onnx": "onnxruntime"}.get(format_, format_)]
            row[format_] = {
                "int8_layers": file["quantized_layers"],
                "float_layers": len(file["float_layers"]),
                "sizes": file["sizes"],
                "worst_layer": parity["error"],
                "difference": parity["image"],
            }
    return row


def prunable_share(generator: list[str]) -> float:
    """Return the share of the channels that can go."""
    groups = json_of(["inspect", generator[1], "--size", str(SIZE)])["groups"]
    whole = sum(group["channels"] for group in groups)
    return sum(group["channels"] for group in groups if not group["protected"]) / whole


def json_of(arguments: list[str]) -> dict[str, Any]:
    """Run a command; return the JSON of its last line."""
    told, said = io.StringIO(), io.StringIO()
    quiet = warnings.catch_warnings(action="ignore")
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(said), quiet:
        status = command(arguments)
    if status:
        raise RuntimeError(f"{' '.join(arguments)}: {said.getvalue()[-500:]}")
    return json.loads(told.getvalue().splitlines()[-1])


def write_photos(folder: Path) -> None:
    """Write six images of coloured squares."""
    folder.mkdir()
    for number in range(6):
        squares = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(squares.repeat(8, 0).repeat(8, 1)).save(folder / f"{number}.png")


if __name__ == "__main__":
    main()
