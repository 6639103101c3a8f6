"""Draw unseen photos beside the images of a teacher and of students, pixel by pixel.

    python benchmarks/fidelity_images.py results/fidelity/hayao \
        --students before-40min-seed0,now-40min-seed0 --output page.jpg

Takes what benchmarks/fidelity.py leaves in a teacher's folder. A row is a photo, with the teacher's
image and one of each student; nothing is resized.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

GAP = 4
"""Pixels between images."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--students", required=True, help="folders in there, between commas")
    parser.add_argument("--count", type=int, default=12, help="photos, evenly from those unseen")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    columns = [in_bytes(load_file(given.folder / "teacher.safetensors")["images"])]
    photos = load_file(given.folder / "inputs.safetensors")["inputs"]
    if photos.dim() == 4:  # noise cannot be shown
        columns.insert(0, photos)
    for name in given.students.split(","):
        columns.append(load_file(last_look(given.folder / name))["images"])
    total = len(columns[0])
    chosen = [round(k * (total - 1) / max(1, given.count - 1)) for k in range(given.count)]
    page(columns, chosen).save(given.output, quality=90)


def last_look(folder: Path) -> Path:
    """Return the file of images that were judged last."""
    files = [file for file in folder.glob("*.safetensors") if is_number(file.stem)]
    if not files:
        raise SystemExit(f"{folder} holds no judged images")
    return max(files, key=lambda file: float(file.stem))


def is_number(text: str) -> bool:
    """Return whether a file's name is a number of seconds."""
    return text.replace(".", "", 1).isdigit()


def in_bytes(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def page(columns: list[Tensor], rows: list[int]) -> Image.Image:
    """Return one image: columns (count, 3, side, side) uint8 side by side, these rows of them."""
    side = columns[0].shape[-1]
    width, height = (len(n) * (side + GAP) - GAP for n in (columns, rows))
    made = Image.new("RGB", (width, height), "white")
    for across, images in enumerate(columns):
        for down, number in enumerate(rows):
            image = Image.fromarray(images[number].permute(1, 2, 0).contiguous().numpy())
            made.paste(image, (across * (side + GAP), down * (side + GAP)))
    return made


if __name__ == "__main__":
    main()
