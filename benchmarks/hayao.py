"""Compress the released CartoonGAN (Hayao) and its baselines: the rows of docs/results.md.

    python benchmarks/hayao.py --weights Hayao_net_G_float.pth --photos photos/ --output results/

Variants, with equal images, steps, batches and code:
    joint    the default: GAN term, distillation, pruning and 8-bit training in one optimisation
    no-gan   the same without the adversarial term
    encoder  the same with the teacher's own encoder as distance, which needs no download
    narrow   a uniformly narrow generator of the same MACs, from random weights, the same loss
Finished variants are kept, and an interrupted one is resumed. LPIPS-squeeze is also the training
distance, except for 'encoder'. The other measures are not trained on: relative L1 of normalised
VGG-19 features and of their Gram matrices. Set GAN_SLIMMING_DATA to the folder with both networks'
weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import resource
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import parse_amount
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.folder import open_folder
from gan_slimming.losses.perceptual import content_and_gram
from gan_slimming.metrics.complexity import count
from gan_slimming.metrics.distances import psnr
from gan_slimming.metrics.tracker import Tracker
from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.perceptual.features import load_features
from gan_slimming.perceptual.lpips import load_lpips
from gan_slimming.serialization.provenance import environment
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.workflows.compress import TRACKED

HOLDOUT = 150
"""Photos that no variant is trained on."""
VARIANTS = {
    "joint": gs.Objective(distill="lpips", adversarial="lsgan"),
    "no-gan": gs.Objective(distill="lpips", adversarial="none"),
    "encoder": gs.Objective(distill="encoder", adversarial="lsgan"),
    "narrow": gs.Objective(distill="lpips", adversarial="lsgan"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--variants", default="joint,narrow,no-gan")
    parser.add_argument("--macs", default="0.05")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--width-multiple", type=int, default=1)
    parser.add_argument("--bits", type=int, default=8, help="0 for a float student")
    parser.add_argument("--quantize-outputs", action="store_true")
    parser.add_argument("--student", type=Path, help="a student to train further without slimming")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    teacher = gs.load_generator("cartoongan", arguments.weights)
    for variant in arguments.variants.split(","):
        row = run_variant(variant, teacher, arguments)
        print(json.dumps(row), flush=True)


def run_variant(
    variant: str, teacher: nn.Module, arguments: argparse.Namespace
) -> dict[str, object]:
    """Train and measure one variant on the held-out photos, or return its finished result."""
    folder = arguments.output / name_of(variant, arguments)
    result = folder / "result.json"
    if result.is_file():
        return json.loads(result.read_text())
    student = gs.load_generator_file(arguments.student) if arguments.student else None
    if variant == "narrow":
        student = narrow_generator(teacher, arguments)
    run = settings_of(variant, arguments, keeps_its_size=student is not None)
    started = time.monotonic()
    done = gs.compress(
        teacher,
        arguments.photos,
        folder,
        run,
        student=student,
        resume=RunFolder(folder).checkpoint.is_file(),
        on_step=lambda step, total, terms: show(variant, step, total, terms, started),
    )
    row = {
        "variant": variant,
        "macs_budget": arguments.macs,
        **done.summary,
        "peak_resident_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "judged": judge(teacher, done.generator, arguments),
        "settings": dataclasses.asdict(run),
        "environment": environment(),
    }
    result.write_text(json.dumps(row, indent=2) + "\n")
    return row


def name_of(variant: str, arguments: argparse.Namespace) -> str:
    """Return the folder name of a variant, with all settings that are not defaults."""
    changed = "".join(
        f"-{name}{getattr(arguments, name)}"
        for name, default in (("steps", 3000), ("width_multiple", 1), ("bits", 8), ("seed", 0))
        if getattr(arguments, name) != default
    )
    changed += "-quantize_outputs" if arguments.quantize_outputs else ""
    changed += "-further" if arguments.student else ""
    return f"{variant}-{arguments.macs}{changed}"


def settings_of(variant: str, arguments: argparse.Namespace, *, keeps_its_size: bool) -> gs.Run:
    """Return the run of a variant; one that starts from a small generator has no budget."""
    return gs.Run(
        budget=gs.Budget(macs=None if keeps_its_size else arguments.macs),
        objective=VARIANTS[variant],
        optimisation=gs.Optimisation(
            steps=arguments.steps, width_multiple=arguments.width_multiple
        ),
        bits=arguments.bits or None,
        quantize_outputs=arguments.quantize_outputs,
        size=arguments.size,
        holdout=HOLDOUT,
        seed=arguments.seed,
    )


def narrow_generator(teacher: nn.Module, arguments: argparse.Namespace) -> nn.Module:
    """Return the widest uniformly narrow CartoonGAN within the budget of MACs."""
    example = (torch.zeros(1, 3, arguments.size, arguments.size),)
    limit = parse_amount("macs", arguments.macs) * count(teacher, example).macs
    torch.manual_seed(arguments.seed)
    width = 64
    while count(build_generator("cartoongan", width=width), example).macs > limit:
        width -= 1
    return build_generator("cartoongan", width=width)


@torch.no_grad()
def judge(
    teacher: nn.Module, generator: nn.Module, arguments: argparse.Namespace
) -> dict[str, float]:
    """Return distances to the teacher on held-out photos that no choice of settings used."""
    lpips, features = load_lpips(), load_features("vgg19")
    adapter = GeneratorAdapter(generator, spec_of(teacher).contract)
    rows = []
    for image, reference in references(teacher, arguments.photos, arguments.size):
        made = adapter(image)
        rows.append(
            {
                "lpips": lpips(made, reference),
                "psnr": psnr(made, reference),
                "vgg19_content": content_and_gram(made, reference, features, 1.0, 0.0),
                "vgg19_gram": content_and_gram(made, reference, features, 0.0, 1.0),
            }
        )
    means = {name: sum(float(row[name]) for row in rows) / len(rows) for name in rows[0]}
    return {"photos": len(rows), **means}


@functools.cache
def references(teacher: nn.Module, photos: Path, size: int) -> list[tuple[Tensor, Tensor]]:
    """Return (photo, teacher's image) of the held-out photos for judging.

    These exclude the photos that track quality during training, and the 16 that default runs hold
    out, because the defaults were chosen by them.
    """
    _, held = open_folder(photos, size, holdout=HOLDOUT)
    _, seen = open_folder(photos, size, holdout=TRACKED)
    tracker = Tracker(
        held, GeneratorAdapter(teacher, spec_of(teacher).contract), torch.device("cpu")
    )
    pairs = zip(held.paths, tracker.pairs(), strict=True)
    return [pair for path, pair in list(pairs)[TRACKED:] if path not in seen.paths]


def show(variant: str, step: int, total: int, terms: dict[str, float], started: float) -> None:
    """Print a line at some steps, because benchmarks run unattended."""
    if step % 50 == 0 or "psnr" in terms:
        figures = {k: round(v, 4) for k, v in terms.items() if k not in ("step", "seconds")}
        print(
            f"{time.monotonic() - started:6.0f} s  {variant} {step}/{total} {figures}", flush=True
        )


if __name__ == "__main__":
    main()
