"""What a student's distance to its teacher in colour and brightness is made of.

    python benchmarks/residuals.py --student results/hayao/best-10min-seed0/600.safetensors \
        --teacher results/hayao/teacher.safetensors --output results/residuals.json

Takes the images that benchmarks/fidelity.py leaves: the student's in bytes, the teacher's in
[-1, 1]. Each row corrects the student with the teacher's image known, and is judged again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.metrics.colour import colour_difference
from gan_slimming.metrics.distances import psnr
from gan_slimming.serialization.provenance import environment

AREAS = (64, 32, 16, 8)
"""Sides in pixels of areas whose mean error is removed."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("student", "teacher", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    student = load_file(given.student)["images"].float() / 127.5 - 1
    teacher = load_file(given.teacher)["images"].clamp(-1, 1)
    rows = {}
    for name, images in corrected(student, teacher).items():
        made = images.clamp(-1, 1)
        rows[name] = {
            "colour": float(colour_difference(made, teacher).mean()),
            "psnr": float(psnr(made, teacher).mean()),
        }
    record = {
        "images": len(teacher),
        "share_in_area_means": shares(student - teacher),
        "corrected": rows,
        "environment": environment(),
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


def corrected(student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
    """Return the student's images (count, 3, height, width) after each correction, by its name."""
    error = student - teacher
    mean, spread = student.mean((2, 3), keepdim=True), student.std((2, 3), keepdim=True)
    wanted, wide = teacher.mean((2, 3), keepdim=True), teacher.std((2, 3), keepdim=True)
    made = {
        "none": student,
        "one shift for all images": student - error.mean((0, 2, 3), keepdim=True),
        "a shift per image": student - (mean - wanted),
        "mean and spread per image": (student - mean) / spread * wide + wanted,
    }
    for side in AREAS:
        low = F.interpolate(F.avg_pool2d(error, side), error.shape[2:], mode="bilinear")
        made[f"mean error of {side} pixels"] = student - low
    return made


def shares(error: Tensor) -> dict[str, float]:
    """Return the share of the squared error that lies in means over squares, by their sides."""
    whole = float(error.square().mean())
    sides = (*reversed(AREAS), error.shape[-1])
    return {str(s): float(F.avg_pool2d(error, s).square().mean()) / whole for s in sides}


if __name__ == "__main__":
    main()
