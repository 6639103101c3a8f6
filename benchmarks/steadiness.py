"""How far a teacher is from itself when its photo hardly changes: a yardstick for its students.

    python benchmarks/steadiness.py --teacher hayao --fidelity results/hayao \
        --output results/steadiness/hayao.json

Takes the photos and answers that benchmarks/fidelity.py leaves, changes each photo, asks the
teacher again, undoes the change where it moved pixels, and judges as students are judged. A student
nearer than this cannot be told from an unsteady teacher.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fidelity import answers_of
from fidelity_judges import judge
from fidelity_teachers import TEACHERS, weights_of
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import gan_slimming as gs
from gan_slimming.serialization.provenance import environment

SHIFT = 4
"""Pixels: a step of the grid of two layers of stride 2, so that no phase changes."""
QUALITY = 90
"""Of JPEG; photos that come from such files hardly change."""
BRIGHTER = 1.05
Change = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""What happens to photos (count, 3, side, side) uint8, and what undoes it on the answers."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--teacher", choices=TEACHERS, required=True)
    parser.add_argument("--weights", type=Path, help="its file, or the package that holds it")
    parser.add_argument("--fidelity", type=Path, required=True, help="the teacher's folder there")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        known = TEACHERS[given.teacher]
        weights = weights_of(known, given.weights, Path(temporary))
        teacher = gs.load_generator(known.generator, weights)
    photos = load_file(given.fidelity / "inputs.safetensors")["inputs"]
    expected = load_file(given.fidelity / "teacher.safetensors")["images"]
    rows = {}
    for name, (change, undo) in changes().items():
        answers = undo(answers_of(teacher, change(photos)))
        rows[name] = judge(((answers + 1) * 127.5).round().to(torch.uint8), expected)
        print(name, rows[name], flush=True)
    record = {
        "teacher": given.teacher,
        "unseen_images": len(photos),
        "changes": rows,
        "environment": environment(),
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(record, indent=2) + "\n")


def changes() -> dict[str, Change]:
    """Return the changes by name; each leaves a person seeing the same photo."""
    return {
        "mirrored": (lambda x: x.flip(-1), lambda y: y.flip(-1)),
        "shifted": (lambda x: x.roll(SHIFT, -1), lambda y: y.roll(-SHIFT, -1)),
        "brighter": (lambda x: (x * BRIGHTER).round().clamp(0, 255).to(torch.uint8), lambda y: y),
        "jpeg": (as_jpeg, lambda y: y),
    }


def as_jpeg(photos: Tensor) -> Tensor:
    """Return photos (count, 3, side, side) uint8 as they come out of JPEG files."""
    made = []
    for photo in photos:
        file = io.BytesIO()
        Image.fromarray(photo.permute(1, 2, 0).numpy()).save(file, "jpeg", quality=QUALITY)
        made.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))
    return torch.stack(made)


if __name__ == "__main__":
    main()
