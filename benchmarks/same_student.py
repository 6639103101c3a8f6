"""Check that a revision of this package trains the same student as the working tree.

python benchmarks/same_student.py --revision v0.1.0

Both run the same short compression in separate processes, on synthetic photos: slimming to a
budget, a cut, recovery, 8 bits. The tensors of the two files are compared bit for bit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from gan_slimming.data.dummy import dummy_image
from gan_slimming.models import build_generator

ROOT = Path(__file__).parents[1]
GENERATORS = {
    "cartoongan": {"width": 8, "blocks": 2},
    "cyclegan": {"width": 8, "blocks": 2},
    "unet-256": {"width": 4},
}


def main() -> None:
    """Compare all generators; exit with 1 if one differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--revision", required=True, help="a commit, tag or branch of this repository"
    )
    parser.add_argument("--steps", type=int, default=60, help="generator steps (default: 60)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="same-student-") as folder:
        place = Path(folder)
        checkout(options.revision, place / "before")
        make_photos(place / "photos")
        differ = [name for name in GENERATORS if not same(name, place, options.steps)]
    sys.exit(f"other students: {', '.join(differ)}" if differ else 0)


def same(name: str, place: Path, steps: int) -> bool:
    """Train a generator's student with both versions; return whether all tensors are equal."""
    torch.manual_seed(0)
    teacher = build_generator(name, **GENERATORS[name])
    save_file(teacher.state_dict(), place / f"{name}.safetensors")
    files = [
        train(name, place, steps, source, place / f"{name}-{label}")
        for label, source in (("before", place / "before" / "src"), ("now", ROOT / "src"))
    ]
    before, now = (load_file(file) for file in files)
    equal = before.keys() == now.keys() and all(torch.equal(before[k], now[k]) for k in now)
    print(f"{name}: {'the same' if equal else 'NOT the same'}, {len(now)} tensors, {steps} steps")
    return equal


def train(name: str, place: Path, steps: int, source: Path, output: Path) -> Path:
    """Run compress with the package in `source`; return the student's file."""
    arguments = [
        "--generator", name, "--weights", str(place / f"{name}.safetensors"),
        "--data", str(place / "photos"), "--output", str(output), "--size", "256",
        "--steps", str(steps), "--budget.macs", "0.3", "--optimisation.slim_share", "0.4",
        "--distill", "l1", "--threads", "1", "--precision", "32-true", "--device", "cpu",
    ]  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "gan_slimming", "compress", *arguments],
        env=os.environ | {"PYTHONPATH": str(source)},
        cwd=place,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return output / "generator.safetensors"


def checkout(revision: str, folder: Path) -> None:
    """Extract the source of a revision into a new folder."""
    folder.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", revision, "src"], capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


def make_photos(folder: Path) -> None:
    """Write eight synthetic photos, each shifted and dimmed differently."""
    folder.mkdir()
    image = torch.from_numpy(dummy_image((1, 3, 256, 256), 0, 255))[0]
    for number in range(8):
        pixels = image.roll((31 * number, 17 * number), (1, 2)) * (1 - 0.08 * number)
        array = pixels.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(array).save(folder / f"{number}.png")


if __name__ == "__main__":
    main()
