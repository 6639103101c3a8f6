"""The life of two students on `tests.other_device`; prints what test_other_device.py asks about.

    python -m tests.e2e.on_other_device FOLDER

A process of its own, because torch cannot forget a device.
"""

from __future__ import annotations

import json
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tests import other_device
from tests.other_device import NAME
from tests.unit.perceptual.test_lpips import linear_state, squeezenet_state
from torch import nn

import gan_slimming as gs
from gan_slimming.config import Budget, Objective, Optimisation, Run
from gan_slimming.models.registry import build_generator, infer_spec
from gan_slimming.perceptual.features import SqueezeNetFeatures
from gan_slimming.perceptual.lpips import Lpips
from gan_slimming.training import device as training_device
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.trainer import Trainer
from gan_slimming.workflows.sample import sample
from gan_slimming.workflows.translate import translate

STEPS, SLIMMING = 6, 3
"""Steps of each run, and how many of them slim."""


def main(folder: Path) -> dict[str, Any]:
    """Run all, and return what came of it."""
    torch.set_num_threads(1)
    training_device.Fabric = other_device.fabric_there  # pyright: ignore
    photos = make_photos(folder / "photos")
    return {
        "prepared": prepared(),
        "images": images(folder, photos),
        "noise": noise(folder),
        "lpips": lpips(),
        "evaluated": evaluated(folder, photos),
        "forgotten": forgotten(folder, photos),
    }


def prepared() -> str:
    """Return the device of what a student draws that was prepared and calibrated there."""
    example = (torch.rand(1, 3, 32, 32).to(NAME),)
    student = gs.prepare(tiny_teacher().to(NAME), example, quantize_outputs=True)
    gs.calibrate(student, [example])
    return str(student(*example).device)


def images(folder: Path, photos: Path) -> dict[str, Any]:
    """Compress a generator of images, interrupted and resumed, and count the synchronisations."""
    teacher = tiny_teacher()
    waits: list[dict[str, int]] = []
    step = Trainer.train_step

    def counted_step(self: Trainer) -> dict[str, float]:
        with other_device.counted() as found:
            terms = step(self)
        waits.append(dict(found))
        return terms

    def interrupt(number: int, total: int, terms: dict[str, float]) -> None:
        if number == STEPS - 2:
            signal.raise_signal(signal.SIGINT)

    Trainer.train_step = counted_step
    run, output = settings(Objective(distill="encoder")), folder / "images"
    with suppress(gs.Interrupted):
        gs.compress(teacher, photos, output, run, targets=photos, on_step=interrupt)
    done = gs.compress(teacher, photos, output, run, targets=photos, resume=True)
    Trainer.train_step = step
    on_device = gs.load_generator_file(output / "generator.safetensors", device=NAME)
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        there = on_device(image.to(NAME)).cpu()
        here = gs.load_generator_file(output / "generator.safetensors")(image)
    return {
        "waits": {"slimming": waits[:SLIMMING], "recovery": waits[SLIMMING:]},
        "share": done.summary["macs"] / done.summary["teacher_macs"],
        "device": str(next(done.generator.parameters()).device),
        "difference": float((there - here).abs().max()),
    }


def noise(folder: Path) -> dict[str, Any]:
    """Compress a generator of noise with batch norms and quantised outputs, and draw with it."""
    teacher = build_generator("dcgan", width=4)
    with torch.no_grad():
        teacher.train()(torch.randn(4, infer_spec(teacher).contract.latent_size))  # as if trained
    run = settings(Objective(distill="l1"), quantize_outputs=True)
    done = gs.compress(teacher, None, folder / "noise", run)
    drawn = sample(folder / "noise", count=2, output=folder / "grid.png", device=NAME)
    return {"share": done.summary["macs"] / done.summary["teacher_macs"], "drawn": drawn}


def lpips() -> float:
    """Return the difference of LPIPS, of random weights, on the device and on the CPU."""
    pair = torch.rand(2, 1, 3, 64, 64)
    here = Lpips(SqueezeNetFeatures(squeezenet_state()), linear_state())
    expected = float(here(*pair))
    return abs(float(here.to(NAME)(*pair.to(NAME))) - expected) / expected


def evaluated(folder: Path, photos: Path) -> dict[str, Any]:
    """Judge the student on both devices, and translate with it."""
    found = {}
    for device in (NAME, "cpu"):
        report = gs.evaluate(
            folder / "images", photos, teacher=tiny_teacher(), device=device,
            metrics=["psnr", "ssim", "l1", "colour", "dots"], batch_size=2, split="held",
        )  # fmt: skip
        found[device] = {row["metric"]: row["value"] for row in report["results"]}
    done = translate(folder / "images", [photos], folder / "translated", device=NAME)
    return {"figures": found, "translated": done}


def forgotten(folder: Path, photos: Path) -> str:
    """Return the error of a run whose calibration leaves its images on the CPU."""
    batches = TrainingContext.batches
    careless: Callable[..., Any] = lambda self, count, seed, batch_size, device, **more: batches(  # noqa: E731
        self, count, seed, batch_size, torch.device("cpu"), **more
    )
    TrainingContext.batches = careless
    try:
        gs.compress(tiny_teacher(), photos, folder / "forgotten", settings(Objective(distill="l1")))
    except other_device.MixedDevices as error:
        return str(error)
    finally:
        TrainingContext.batches = batches
    return ""


def tiny_teacher() -> nn.Module:
    """Return a generator of images, the same at every call."""
    torch.manual_seed(1)
    return build_generator("cartoongan", width=4, blocks=1)


def settings(objective: Objective, **changes: Any) -> Run:
    """Return settings of a short run on the device."""
    optimisation = Optimisation(
        steps=STEPS, slim_share=SLIMMING / STEPS, batch_size=2, discriminator_width=4, replay=3
    )
    return Run(
        budget=Budget(macs=0.5), objective=objective, optimisation=optimisation, size=32,
        latents=20, holdout=2, precision="32-true", device=NAME, threads=1, **changes,
    )  # fmt: skip


def make_photos(folder: Path) -> Path:
    """Write six smooth images of 40x36 pixels."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        coarse = random.integers(0, 256, (6, 7, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((40, 36)).save(folder / f"{number}.png")
    return folder


if __name__ == "__main__":
    warnings.simplefilter("error")
    print(json.dumps(main(Path(sys.argv[1])), default=str))
