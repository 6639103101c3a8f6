"""Compare two processes that share a run with one process of two threads, on the same two cores.

    torchrun --nproc-per-node 2 benchmarks/processes.py --output results/processes.json

CartoonGAN's generator with random weights, dense and cut evenly to a twentieth of its MACs, takes
steps of recovery. Blocks of steps by both processes alternate with blocks of the first one alone,
so that whatever else runs on the machine disturbs both alike; the median step counts. Beside it
stand what the processes exchange in a step, what the teacher takes for an image, and what a photo
takes to decode.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from command import command_line
from lightning_fabric import Fabric
from PIL import Image
from torch import nn

from gan_slimming.config import Objective, Optimisation, Run
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.folder import ImageSet
from gan_slimming.data.ranks.collectives import average
from gan_slimming.data.ranks.launch import is_first
from gan_slimming.data.square_images import read_square
from gan_slimming.losses.perceptual import multiscale_l1
from gan_slimming.models import CartoonGenerator, spec_of
from gan_slimming.pruning.groups import macs_left
from gan_slimming.pruning.proximal import uniform_widths
from gan_slimming.serialization.provenance import environment
from gan_slimming.student.student import Student, prepare
from gan_slimming.student.surgery import cut
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.device import make_fabric
from gan_slimming.training.trainer import Trainer

BATCH = 4
SLIM = 0.05
PHOTO = (4000, 3000)
"""Width and height in pixels of the photo that is decoded."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=32, help="channels of the first layer")
    parser.add_argument("--threads", type=int, default=2, help="of the lone process")
    parser.add_argument("--steps", type=int, default=2, help="of a block")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    fabric = make_fabric(RUN, nn.Identity(), ())
    example = (torch.zeros(1, 3, arguments.size, arguments.size),)
    student = prepare(teacher_of(arguments), example, bits=8)
    rows = {"dense": compared(fabric, student, arguments)}
    narrow(student)
    rows["slim"] = compared(fabric, student, arguments)
    record = {
        "command": command_line(),
        "size": arguments.size, "width": arguments.width, "threads": arguments.threads,
        "images_per_step": BATCH, "rows": rows,
        "decode_seconds": decoding(arguments.size) if is_first() else None,
        "load": os.getloadavg(), "environment": environment(),
        "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    if is_first():
        if arguments.output:
            arguments.output.write_text(json.dumps(record, indent=2) + "\n")
        print(json.dumps(record))


RUN = Run(
    objective=Objective(distill="l1", adversarial="none"), device="cpu", precision="32-true",
    optimisation=Optimisation(steps=1000, batch_size=BATCH, half_size_share=0.0),
)  # fmt: skip


def compared(fabric: Fabric, student: Student, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of a step, of the exchange and of the teacher, for one student."""
    both = trainer_of(fabric, student, arguments)
    one = trainer_of(fabric, student, arguments)
    seconds: dict[str, list[float]] = {"two processes": [], "one process": []}
    for block in range(arguments.blocks):
        torch.set_num_threads(1)
        taken = [timed(both.advance) for _ in range(arguments.steps)]
        with by_itself(arguments.threads):
            if is_first():
                alone = [timed(one.advance) for _ in range(arguments.steps)]
        if is_first() and block:  # the first warms up
            seconds["two processes"] += taken
            seconds["one process"] += alone
    gradients = [torch.zeros_like(p) for p in both.student.parameters()]
    exchange = statistics.median(timed(lambda: average(gradients)) for _ in range(7))
    teacher = both.context.teacher
    image = torch.zeros(1, 3, arguments.size, arguments.size)
    with torch.no_grad():
        answer = statistics.median(timed(lambda: teacher(image)) for _ in range(5))
    return {
        "step_seconds": {who: statistics.median(t) for who, t in seconds.items() if t},
        "steps": len(seconds["one process"]),
        "macs": macs_left(both.student.graph, {}),
        "exchanged_bytes": sum(g.nbytes for g in gradients),
        "exchange_seconds": exchange,
        "teacher_seconds": answer,
    }


def teacher_of(arguments: argparse.Namespace) -> CartoonGenerator:
    """Return CartoonGAN's generator with the same random weights in every process."""
    torch.manual_seed(0)
    return CartoonGenerator(width=arguments.width).eval().requires_grad_(False)


def trainer_of(fabric: Fabric, student: Student, arguments: argparse.Namespace) -> Trainer:
    """Return a trainer of a copy of the student, in recovery on images of noise."""
    size, teacher = arguments.size, teacher_of(arguments)
    pixels = torch.randint(0, 256, (64, 3, size, size)).to(torch.uint8)
    images = ImageSet(pixels, torch.arange(64), tuple(Path(str(i)) for i in range(64)))
    context = TrainingContext(
        teacher=GeneratorAdapter(teacher, spec_of(teacher).contract), inputs=images, targets=None,
        distance=multiscale_l1, track=lambda generate: {}, side=size, same_channels=False,
    )  # fmt: skip
    trainer = Trainer(fabric, copy.deepcopy(student), replace(RUN, size=size), context)
    trainer.begin_recovery()
    return trainer


def narrow(student: Student) -> None:
    """Cut a student evenly to SLIM of its MACs."""
    graph = student.graph

    def cost(alive: Any) -> float:
        return float(macs_left(graph, alive))

    widths = uniform_widths(graph, cost, SLIM * cost({}))
    cut(student, {g.name: torch.arange(g.channels) < widths[g.name] for g in graph.prunable})


@contextmanager
def by_itself(threads: int) -> Iterator[None]:
    """Let the first process compute as if alone, with so many threads, while the other waits."""
    dist.barrier()
    told = os.environ["WORLD_SIZE"]
    os.environ["WORLD_SIZE"] = "1"
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        os.environ["WORLD_SIZE"] = told
        torch.set_num_threads(1)
        dist.barrier()


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds on the wall that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def decoding(size: int) -> float:
    """Return the seconds in which a photo becomes a training image."""
    photo = Path("processes.jpg")
    content = io.BytesIO()
    noise = torch.randint(0, 256, (PHOTO[1] // 8, PHOTO[0] // 8, 3), dtype=torch.uint8).numpy()
    Image.fromarray(noise).resize(PHOTO).save(content, "JPEG", quality=90)
    try:
        photo.write_bytes(content.getvalue())
        return statistics.median(timed(lambda: read_square(photo, size)) for _ in range(5))
    finally:
        photo.unlink()


if __name__ == "__main__":
    main()
