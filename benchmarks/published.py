"""Compare our compressed generators with published ones of equal cost.

    python benchmarks/published.py --task mosaic-16 --data DATA --photos photos/ --output results/

Tasks:
    mosaic-16   the fast style-transfer network of width 32, slimmed to the MACs of the published
                one of width 16, against that: LPIPS to the width-32 output on held-out photos
    mosaic-8    the same at width 8
    zebra       the published compressed CycleGAN (horse to zebra, separable convolutions), slimmed
                to half its MACs: SqueezeNet's top-1 rate of 'zebra' on test horses, before and
                after. Training images are the photos and twice as many enlarged CIFAR-10 horses,
                because the student has to see horses. --detail adds a photo's fine detail to each
                horse, up to this strength, because an enlarged image has none
DATA holds fast_neural_style/, gancompression_horse2zebra/, horse2zebra_test/, cifar10/,
squeezenet1_1/ and lpips_weights/. Neither test horses nor held-out photos are trained on. Finished
tasks are kept, and an interrupted one is resumed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import shutil
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.folder import open_folder
from gan_slimming.data.image_files import read_image
from gan_slimming.metrics.complexity import count
from gan_slimming.metrics.tracker import Tracker
from gan_slimming.models.registry import spec_of
from gan_slimming.perceptual.features import load_features
from gan_slimming.perceptual.lpips import load_lpips
from gan_slimming.serialization.provenance import environment
from gan_slimming.serialization.run_folder import RunFolder

HOLDOUT = 120
ZEBRA = 340
"""ImageNet's class number of zebras."""
ENLARGED = 8
"""Finest detail of enlarged CIFAR-10 images in pixels: they are 32 wide, enlarged to 256."""
MOSAIC = "fast_neural_style/mosaic_nc32_fp16.pth"
NARROW_MOSAIC = "fast_neural_style/mosaic_nc{}_b1_e2_1e05_1e10.model"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--task", choices=["mosaic-16", "mosaic-8", "zebra"], required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--adversarial", default="lsgan", choices=["lsgan", "none"])
    parser.add_argument("--pixel-weight", type=float, default=gs.Objective().pixel_weight)
    parser.add_argument(
        "--hidden-weight",
        dest="feature_distillation_weight",
        type=float,
        default=gs.Objective().feature_distillation_weight,
    )
    parser.add_argument("--floor", type=float, default=gs.Optimisation().floor)
    share = gs.Optimisation().half_size_share
    parser.add_argument("--half-size-share", type=float, default=share)
    told = "generator.safetensors of an earlier run, to train further without slimming"
    parser.add_argument("--student", type=Path, help=told)
    parser.add_argument("--detail", type=float, default=0.0, help="of photos, in enlarged horses")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = arguments.output / arguments.task
    result = folder / "result.json"
    if not result.is_file():
        row = zebra(folder, arguments) if arguments.task == "zebra" else mosaic(folder, arguments)
        result.write_text(json.dumps(row | {"environment": environment()}, indent=2) + "\n")
    print(result.read_text())


def slim(
    teacher: nn.Module, macs: float, photos: Path, folder: Path, arguments: argparse.Namespace
) -> tuple[gs.Compressed, dict[str, object]]:
    """Run compress with default settings except those of `arguments`; return its result and a row.

    It uses one thread, so that two tasks can run side by side.
    """
    student = gs.load_generator_file(arguments.student) if arguments.student else None
    run = gs.Run(
        budget=gs.Budget(macs=macs) if student is None else gs.Budget(),
        objective=gs.Objective(
            adversarial=arguments.adversarial,
            distill="lpips",
            pixel_weight=arguments.pixel_weight,
            feature_distillation_weight=arguments.feature_distillation_weight,
        ),
        optimisation=gs.Optimisation(
            steps=arguments.steps,
            floor=arguments.floor,
            half_size_share=arguments.half_size_share,
        ),
        size=arguments.size,
        threads=1,
        holdout=HOLDOUT,
        seed=arguments.seed,
    )
    resume = RunFolder(folder).checkpoint.is_file()
    done = gs.compress(teacher, photos, folder, run, student=student, resume=resume, on_step=show)
    trained = {"settings": dataclasses.asdict(run), "student": str(arguments.student or "")}
    return done, {"task": arguments.task, **done.summary, **trained}


def mosaic(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Compare ours and the published narrow network with the wide one, on held-out photos."""
    width = arguments.task.partition("-")[2]
    teacher = gs.load_generator("fast-style", arguments.data / MOSAIC)
    peer = gs.load_generator("fast-style", arguments.data / NARROW_MOSAIC.format(width))
    cost = count(peer, (torch.zeros(1, 3, arguments.size, arguments.size),))
    done, row = slim(teacher, cost.macs, arguments.photos, folder, arguments)
    _, held = open_folder(arguments.photos, arguments.size, holdout=HOLDOUT)
    pairs = Tracker(
        held, GeneratorAdapter(teacher, spec_of(teacher).contract), torch.device("cpu")
    ).pairs()
    published = {"macs": cost.macs, "parameters": cost.parameters, "lpips": far(peer, pairs)}
    return row | {"lpips": far(done.generator, pairs), "published": published}


@torch.no_grad()
def far(generator: nn.Module, pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Return the mean LPIPS-squeeze of a generator to the teacher's images."""
    lpips, draw = load_lpips(), GeneratorAdapter(generator.eval(), spec_of(generator).contract)
    drawn = ((draw(photo).clamp(-1, 1), reference) for photo, reference in pairs)
    return sum(float(lpips(made, reference)) for made, reference in drawn) / len(pairs)


def zebra(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Measure the share of test horses that become zebras, by the teacher and the student."""
    weights = arguments.data / "gancompression_horse2zebra" / "latest_net_G.pth"
    teacher = gs.load_generator("cyclegan-mobile", weights)
    size = (torch.zeros(1, 3, arguments.size, arguments.size),)
    detail = f"-detail{arguments.detail:g}" if arguments.detail else ""
    images = with_horses(folder.with_name(f"zebra-images{detail}"), arguments)
    done, row = slim(teacher, count(teacher, size).macs / 2, images, folder, arguments)
    files = sorted((arguments.data / "horse2zebra_test").glob("*_real.png"))
    horses = [read_image(file).rgb[None] for file in files]
    contract = spec_of(teacher).contract
    before, after = (GeneratorAdapter(g, contract) for g in (teacher, done.generator))
    rates = {
        "horses": zebra_rate(horses, arguments.data),
        "teacher": zebra_rate([before(horse) for horse in horses], arguments.data),
        "student": zebra_rate([after(horse) for horse in horses], arguments.data),
    }
    return row | {"test_horses": len(horses), "zebra_rate": rates}


def with_horses(folder: Path, arguments: argparse.Namespace) -> Path:
    """Make a folder of the photos and twice as many of CIFAR-10's training horses, once."""
    if folder.is_dir():
        return folder
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(arguments.photos, part)
    wanted = 2 * sum(file.is_file() for file in part.rglob("*"))
    (part / "horses").mkdir()
    with tarfile.open(arguments.data / "cifar10" / "cifar10_jpg.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member) if "train/horse/" in member.name else None
            if file is not None and wanted > 0:
                wanted -= 1
                horse = Image.open(file).convert("RGB")
                side = (arguments.size, arguments.size)
                horse = horse.resize(side, Image.Resampling.BICUBIC)
                horse.save(part / "horses" / f"{Path(member.name).stem}.png")
    if arguments.detail > 0:
        add_detail(part, arguments)
    part.rename(folder)
    return folder


def add_detail(folder: Path, arguments: argparse.Namespace) -> None:
    """Add the fine detail of a training photo to every horse."""
    chance = random.Random(arguments.seed)
    train, _ = open_folder(folder, arguments.size, holdout=HOLDOUT)
    photos = [file for file in train.paths if file.parent.name != "horses"]
    side = (arguments.size, arguments.size)
    for file in sorted((folder / "horses").iterdir()):
        photo = ImageOps.fit(Image.open(chance.choice(photos)).convert("RGB"), side)
        coarse = photo.reduce(ENLARGED).resize(side, Image.Resampling.BICUBIC)
        fine = np.asarray(photo, np.float32) - np.asarray(coarse, np.float32)
        horse = (
            np.asarray(Image.open(file), np.float32) + chance.uniform(0, arguments.detail) * fine
        )
        Image.fromarray(horse.round().clip(0, 255).astype(np.uint8)).save(file)


@torch.no_grad()
def zebra_rate(images: list[Tensor], data: Path) -> float:
    """Return the share of images (1, 3, 256, 256) whose top-1 ImageNet class is the zebra."""
    file = data / "squeezenet1_1" / "squeezenet1_1_imagenet.pth"
    state = torch.load(file, weights_only=True)
    features = load_features("squeezenet", file)
    hits = 0
    for image in images:
        last = list(features((image.clamp(-1, 1) + 1) / 2).values())[-1]
        weight, bias = state["classifier.1.weight"], state["classifier.1.bias"]
        scores = torch.nn.functional.conv2d(last, weight, bias).relu().mean(dim=(2, 3))
        hits += int(scores.argmax()) == ZEBRA
    return hits / len(images)


def show(step: int, total: int, terms: dict[str, float]) -> None:
    """Print a line at some steps, because benchmarks run unattended."""
    if step % 50 == 0 or "psnr" in terms:
        figures = {k: round(v, 4) for k, v in terms.items() if k != "step"}
        print(f"{step}/{total} {figures}", flush=True)


if __name__ == "__main__":
    main()
