"""One training of a tiny net by the processes that the environment tells of; run by itself.

    python tests/two_processes.py OUTPUT KIND

All kinds have hidden features and the GAN game with replay. KIND 'norms' has batch norms; 'parts'
computes one image at once; 'whole' is the same without parts; 'quantized' has ranges and scales of
outputs, for few steps: values on the edge of two codes soon make any two runs differ.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_slimming.config import Budget, InputContract, Objective, Optimisation, Run
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.folder import ImageSet
from gan_slimming.data.ranks import collectives
from gan_slimming.data.ranks.launch import is_first, rank
from gan_slimming.losses.perceptual import multiscale_l1
from gan_slimming.student.student import prepare
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.device import make_fabric
from gan_slimming.training.trainer import Trainer

STEPS = 20
EXAMPLE = (torch.zeros(1, 3, 32, 32),)
RUN = Run(
    budget=Budget(macs=0.3),
    objective=Objective(distill="l1", adversarial="lsgan"),
    optimisation=Optimisation(
        steps=STEPS, slim_share=0.5, half_size_share=0.0, batch_size=8, warmup=2, replay=5,
        discriminator_width=2, floor=0.0,
    ),
    bits=None, size=32, device="cpu", precision="32-true",
)  # fmt: skip


def net(norm: Any) -> nn.Module:
    """Return a tiny generator, the same in every process."""
    torch.manual_seed(3)
    return nn.Sequential(  # a bias in front of a norm would follow the rounding alone
        *(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), norm(8, affine=True), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, padding=1, bias=False), norm(8, affine=True), nn.ReLU()),
        *(nn.Upsample(scale_factor=2), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh()),
    )


def trainer_of(kind: str) -> Trainer:
    """Return a trainer before its first step."""
    teacher = net(nn.BatchNorm2d if kind == "norms" else nn.InstanceNorm2d)
    teacher.eval().requires_grad_(False)
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (12, 3, 32, 32)).to(torch.uint8)
    images = ImageSet(pixels, torch.arange(12), tuple(Path(str(i)) for i in range(12)))
    quantized = kind == "quantized"
    optimisation = replace(RUN.optimisation, images_at_once=1 if kind == "parts" else None)
    run = replace(RUN, optimisation=optimisation)
    run = replace(run, bits=8 if quantized else None, quantize_outputs=quantized)
    fabric = make_fabric(run, teacher, EXAMPLE)
    context = TrainingContext(
        teacher=GeneratorAdapter(teacher, InputContract()), inputs=images, targets=images,
        distance=multiscale_l1, track=lambda generate: {}, side=32,
    )  # fmt: skip
    student = prepare(teacher, EXAMPLE, bits=run.bits, quantize_outputs=quantized)
    with torch.no_grad():  # of an exact copy, all gradients would be the signs of rounding errors
        for parameter in student.module.parameters():
            if kind != "norms":  # whose statistics differ from the teacher's
                parameter.add_(0.1 * torch.rand_like(parameter))
    return Trainer(fabric, student, run, context)


def result(kind: str) -> dict[str, Any]:
    """Train for all steps; return the student, and what was cut and lost on the way."""
    trainer = trainer_of(kind)
    trainer.begin()
    logged = [trainer.advance() for _ in range(4 if kind == "quantized" else STEPS)]
    return {
        "student": trainer.final().state_dict(), "kept": trainer.student.kept,
        "replay": trainer.state_dict()["discriminator"]["replay"]["images"],
        "terms": [{name: row[name] for name in ("total", "discriminator")} for row in logged],
    }  # fmt: skip


def mistakes() -> dict[str, Any]:
    """Return what two processes that disagree are told, and other exchanges."""
    trainer_of("whole")
    told: dict[str, Any] = {"first": collectives.from_first(lambda: f"of {rank()}")}
    told["largest"] = collectives.largest(7 if rank() else 5)
    told["found"] = collectives.first_found("here" if rank() else None)
    try:
        collectives.check_same(bytes([rank()]), "other channels to cut")
    except collectives.UserError as error:
        told["error"] = str(error)
    told["lost"] = ""
    if is_first():  # the other one ends here
        try:
            collectives.largest(0)
        except collectives.PeerLost as error:
            told["lost"] = str(error)
    return told


if __name__ == "__main__":
    torch.set_num_threads(1)
    _, output, *kinds = sys.argv
    made = {kind: mistakes() if kind == "mistakes" else result(kind) for kind in kinds}
    torch.save(made, Path(output) / f"{rank()}.pt")
