"""Draw the README's image: photos, the teacher's and the student's images, in three columns.

    python benchmarks/before_after.py --weights Hayao_net_G_float.pth --run runs/hayao-0.05 \
        --output docs/images/hayao-0.05.jpg

The photos are those of scikit-image; neither generator was trained on them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import skimage
import torch
import torch.nn.functional as F

import gan_slimming as gs
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.image_files import read_image, write_image
from gan_slimming.models.registry import spec_of

PHOTOS = ("coffee.png", "rocket.jpg", "chelsea.png")
SIZE = 256


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    teacher = gs.load_generator("cartoongan", arguments.weights)
    student = gs.load_generator_file(arguments.run / "generator.safetensors")
    contract = spec_of(teacher).contract
    before, after = (GeneratorAdapter(g, contract) for g in (teacher, student))
    rows = []
    for name in PHOTOS:
        photo = square(read_image(Path(skimage.__file__).parent / "data" / name).rgb)
        rows.append(torch.cat([photo, before(photo), after(photo)], dim=3))
    write_image(arguments.output, torch.cat(rows, dim=2)[0])


def square(rgb: torch.Tensor) -> torch.Tensor:
    """Return the central square of (3, height, width), as (1, 3, SIZE, SIZE)."""
    height, width = rgb.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = rgb[None, :, top : top + side, left : left + side]
    return F.interpolate(middle, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)


if __name__ == "__main__":
    main()
