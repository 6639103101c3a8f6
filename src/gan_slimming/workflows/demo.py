"""The command demo: a compression of the small cartoon generator that the package includes.

This teacher is the released CartoonGAN (Hayao) at 15 % of its MACs, in float
(benchmarks/demo_teacher.py). It is compressed on photos of scikit-image, and compared with its
student on three other photos.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import Budget, Objective, Optimisation, Run
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.files import write_atomically
from gan_slimming.data.image_files import read_image, write_image
from gan_slimming.data.padding import run_padded
from gan_slimming.errors import UserError
from gan_slimming.metrics.complexity import count
from gan_slimming.metrics.distances import psnr, ssim
from gan_slimming.models.registry import spec_of
from gan_slimming.perceptual.lpips import lpips_at_hand
from gan_slimming.reports.page import Row, write_page
from gan_slimming.serialization.generator_file import load_generator_file
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.workflows.compress import OnStep, compress

MARKER = ".gan-slimming-demo"
"""File by which a demonstration knows its own folder."""
TEACHER = Path(__file__).parents[1] / "models" / "shipped" / "cartoon_small.safetensors"
TRAINING = (
    "astronaut.png", "motorcycle_left.png", "motorcycle_right.png", "hubble_deep_field.jpg",
    "ihc.png", "retina.jpg",
)  # fmt: skip
UNSEEN = ("chelsea.png", "coffee.png", "rocket.jpg")
TILE = 256
"""Height and width of training images in pixels."""
SHARE = 0.1
"""Budget: share of the teacher's MACs."""


def demo(output: str | Path, steps: int = 300, on_step: OnStep | None = None) -> dict[str, Any]:
    """Compress the included generator to a tenth of its MACs, and write a page of results.

    A demonstration that was stopped goes on where it was.

    Args:
        output: folder for the page, the images and the run.
        steps: number of training steps; 300 take some minutes on two cores.
    Raises:
        UserError: scikit-image is missing, or the folder holds other files.
    """
    folder = Path(output)
    photos = _photos()
    tiles = folder / "photos"
    _refuse_strangers(folder, tiles)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MARKER, b"A demonstration of gan-slimming.\n")
    _cut_tiles(photos, tiles)
    teacher = load_generator_file(TEACHER)
    run = Run(
        budget=Budget(macs=SHARE),
        objective=Objective(),
        optimisation=Optimisation(steps=steps, slim_share=0.2, half_size_share=0.0),
        size=128,
        holdout=4,
    )
    files = RunFolder(folder / "run")
    resume = files.is_unfinished and files.read_config()[0].optimisation.steps == steps
    run = files.read_config()[0] if resume else run
    words = ["gan-slimming", "demo", "--output", str(folder), "--steps", str(steps)]
    result = compress(
        teacher, tiles, folder / "run", run, resume=resume, overwrite=not resume, on_step=on_step,
        resume_command=shlex.join(words),
    )  # fmt: skip
    rows, quality = _compare(teacher, result.generator, photos)
    page = folder / "index.html"
    _write(page, teacher, rows, quality, result.summary)
    summary = {"page": str(page), "unseen": quality, **result.summary}
    write_atomically(folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    return summary


def _photos() -> Path:
    try:
        import skimage
    except ImportError as error:
        raise UserError(
            "the demo's photos come with scikit-image; pip install 'gan-slimming[demo]'"
        ) from error
    folder = Path(skimage.__file__).parent / "data"
    missing = [name for name in (*TRAINING, *UNSEEN) if not (folder / name).is_file()]
    if missing:
        raise UserError(f"this scikit-image has no {missing[0]}; install version 0.25 or 0.26")
    return folder


def _refuse_strangers(folder: Path, tiles: Path) -> None:
    """Raise UserError for foreign files, which would be trained on or replaced."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name another --output")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise UserError(f"{folder} is not of a demonstration; name another --output")
    ours = {MARKER, "photos", "run", "index.html", "summary.json"}
    found = [path for path in folder.glob("*") if path.name not in ours]
    stems = tuple(f"{Path(name).stem}_" for name in TRAINING)
    found += [path for path in tiles.glob("*") if not path.name.startswith(stems)]
    if found := [path for path in found if not path.name.startswith(".")]:
        raise UserError(f"{found[0]} is not of a demonstration; name another --output")


def _cut_tiles(photos: Path, tiles: Path) -> None:
    """Cut the training photos into overlapping square tiles, whole photos first."""
    tiles.mkdir(parents=True, exist_ok=True)
    for name in TRAINING:
        rgb = read_image(photos / name).rgb
        height, width = rgb.shape[1:]
        for share in (1.0, 0.6):
            side = int(min(height, width) * share)
            for row in _starts(height, side):
                for column in _starts(width, side):
                    tile = rgb[:, row : row + side, column : column + side]
                    path = tiles / f"{Path(name).stem}_{side}_{row}_{column}.png"
                    write_image(path, _resized(tile))


def _starts(length: int, side: int) -> list[int]:
    """Return the starts of tiles of `side` along `length`: both ends, or one if nearly equal."""
    return [0] if length - side < side // 8 else [0, length - side]


def _resized(tile: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(
        tile[None], (TILE, TILE), mode="bilinear", antialias=True, align_corners=False
    )[0]


@torch.no_grad()
def _compare(
    teacher: nn.Module, student: nn.Module, photos: Path
) -> tuple[list[Row], dict[str, float]]:
    """Run both generators on the unseen photos at full size; return images and mean distances."""
    adapters = [
        GeneratorAdapter(generator, spec_of(teacher).contract) for generator in (teacher, student)
    ]
    lpips = lpips_at_hand()
    rows, figures = [], []
    for name in UNSEEN:
        rgb = read_image(photos / name).rgb[None]
        made = [run_padded(adapter, rgb) for adapter in adapters]
        rows.append(Row(name, [rgb[0], made[0][0], made[1][0]]))
        figure = {"psnr": psnr(*made), "ssim": ssim(*made)}
        if lpips is not None:
            figure["lpips"] = lpips(*made)
        figures.append({key: float(value) for key, value in figure.items()})
    means = {key: sum(f[key] for f in figures) / len(figures) for key in figures[0]}
    return rows, {"images": len(UNSEEN), "pictures": len(UNSEEN), **means}


def _write(
    page: Path,
    teacher: nn.Module,
    rows: list[Row],
    quality: dict[str, float],
    summary: dict[str, Any],
) -> None:
    at_256 = count(teacher, (torch.zeros(1, 3, 256, 256),)).macs
    share = summary["macs"] / summary["teacher_macs"]
    smaller = summary["teacher_size_bytes"] / summary["size_bytes"]
    figures = ", ".join(
        f"{key} {value:.3g}" for key, value in quality.items() if key not in ("images", "pictures")
    )
    write_page(
        page,
        title="A generator made small",
        lead=f"{1 / share:.0f} times less work, {smaller:.0f} times fewer bytes, in int8.",
        columns=["photo (never trained on)", "teacher", "student"],
        rows=rows,
        table=[
            ["", "teacher", "student"],
            ["GMACs at 256x256", f"{at_256 / 1e9:.2f}", f"{share * at_256 / 1e9:.2f}"],
            ["parameters", f"{summary['teacher_parameters']:,}", f"{summary['parameters']:,}"],
            ["bytes", f"{summary['teacher_size_bytes']:,} (fp32)", f"{summary['size_bytes']:,}"],
            ["distance to the teacher", "0", figures],
        ],
        notes=[
            f"Means over {quality['images']} photos of scikit-image at their own sizes, none of "
            f"them trained on. {summary['steps']} steps in {summary['seconds']:.0f} s.",
            "psnr in dB and ssim: higher is nearer to the teacher; lpips, where its weights are at "
            "hand: lower is nearer.",
        ],
    )
