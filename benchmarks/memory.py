"""Measure what a large folder of photos costs: start, peak memory, images per second.

    python benchmarks/memory.py --photos photos/ --output results/memory.json --scratch scratch/ \
        --counts 1000,10000,100000 --weights Hayao_net_G_float.pth

Copies of the photos at 256x256, each of different content, fill a folder in --scratch, which is
deleted in the end. Each row is a process of its own:

open      the folder is listed and split, with nothing and with 2 GB of images kept
draw      images are drawn in batches of 4 in an order of training, with 0, 1 and 2 workers
answers   the teacher's answers fill their cache, on the device (here the CPU) and on disk
compress  with --weights: three steps on CartoonGAN (11 M) at full size, two of which slim the
          dense network, where memory peaks

Memory is resident memory at its peak, and what of it is no file's (anonymous), less that of the
process before. Seconds are those on the wall and, beside them, of the processor: on a shared
machine only the latter are comparable.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from command import command_line
from PIL import Image

import gan_slimming as gs
from gan_slimming.config import Memory
from gan_slimming.data.image_files import list_images
from gan_slimming.data.sampler import Sampler
from gan_slimming.data.training_data import open_training_data
from gan_slimming.serialization.provenance import environment
from gan_slimming.training.teacher_cache import TeacherCache

SIZE = 256
SOURCES = 700
"""Most photos that copies are made of."""
COMPARED = 400
"""Images whose digest shows that each number of workers draws the same ones."""


def main() -> None:
    arguments = parser().parse_args()
    if arguments.measure:
        print(json.dumps(MEASURES[arguments.measure](arguments)))
        return
    rows = []
    folder = arguments.scratch / "photos"
    try:
        for count in arguments.counts:
            make_photos(arguments.photos, folder, count)
            rows += [measured(arguments, "open", kept=kept) for kept in ("0", "2G")]
        for workers in (0, 1, 2):
            rows += [measured(arguments, "draw", workers=workers, kept="0")]
        rows += [measured(arguments, "draw", workers=2, kept="2G")]
        rows += [measured(arguments, "answers", on=place) for place in ("device", "disk")]
        if arguments.weights:
            rows += [measured(arguments, "compress")]
    finally:
        shutil.rmtree(arguments.scratch, ignore_errors=True)
    digests = {row["digest"] for row in rows if "digest" in row}
    assert len(digests) == 1, "the order of draws depends on workers or memory"
    record = {
        "command": command_line(),
        "size": SIZE,
        "rows": rows,
        "environment": environment(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's flags."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--photos", type=Path, required=True)
    made.add_argument("--scratch", type=Path, required=True, help="2.5 GB for 100,000 photos")
    made.add_argument("--output", type=Path, required=True)
    made.add_argument("--counts", type=lambda text: [int(n) for n in text.split(",")],
                      default=[1000, 10_000, 100_000])  # fmt: skip
    made.add_argument("--weights", type=Path, help="of CartoonGAN, for the row 'compress'")
    made.add_argument("--seconds", type=float, default=20.0, help="for which images are drawn")
    for name in ("measure", "kept", "on"):
        made.add_argument(f"--{name}", help=argparse.SUPPRESS)
    made.add_argument("--workers", type=int, default=2, help=argparse.SUPPRESS)
    return made


def measured(arguments: argparse.Namespace, measure: str, **changes: Any) -> dict[str, Any]:
    """Return the figures of one measurement, made in a process of its own."""
    command = [sys.executable, __file__, "--measure", measure]
    given = {name: getattr(arguments, name) for name in ("photos", "scratch", "output", "seconds")}
    if arguments.weights:
        given["weights"] = arguments.weights
    for name, value in (given | changes).items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    row = {"measure": measure, **changes, **json.loads(done.stdout.splitlines()[-1])}
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def make_photos(source: Path, folder: Path, count: int) -> None:
    """Fill a folder up to `count` JPEGs of different content, a thousand in each of its folders."""
    originals = [_jpeg(path) for path in list_images([source])[:SOURCES]]
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:06}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # What follows the end of a JPEG changes its content, and not its image.
            path.write_bytes(originals[number % len(originals)] + f"{number:06}".encode())


def _jpeg(path: Path) -> bytes:
    content = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").resize((SIZE, SIZE)).save(content, "JPEG", quality=90)
    return content.getvalue()


class Meter:
    """Seconds and memory from now on."""

    def __init__(self) -> None:
        self.before = _memory()
        self.wall, self.processor = time.monotonic(), time.process_time()

    def read(self) -> dict[str, float]:
        """Return seconds, and MiB more than in the beginning."""
        now = _memory()
        return {
            "seconds": round(time.monotonic() - self.wall, 2),
            "processor_seconds": round(time.process_time() - self.processor, 2),
            "peak_mib": round(now["VmHWM"] - self.before["VmRSS"], 1),
            "anonymous_mib": round(now["RssAnon"] - self.before["RssAnon"], 1),
        }


def _memory() -> dict[str, float]:
    """Return the lines of /proc/self/status on memory, in MiB (Linux)."""
    pairs = (line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(text.split()[0]) / 1024 for name, text in pairs if text.endswith("kB")}


def _opened(arguments: argparse.Namespace) -> Any:
    run = gs.Run(memory=Memory(images=arguments.kept), workers=arguments.workers)
    return open_training_data(gs.InputContract(), run, SIZE, arguments.scratch / "photos", None)


def measure_open(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the cost of opening the folder."""
    meter = Meter()
    data = _opened(arguments)
    return {"images": len(data.inputs) + len(data.held), **meter.read()}


def measure_draw(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the rate at which images are drawn, and a digest of the first ones."""
    inputs = _opened(arguments).inputs
    order, digest, drawn = Sampler(len(inputs), 4, seed=0), hashlib.sha256(), 0
    meter = Meter()
    while time.monotonic() - meter.wall < arguments.seconds or drawn < COMPARED:
        (images,) = inputs.batch(*order.next(2))
        inputs.expect(order.coming)
        if drawn < COMPARED:
            digest.update(images.numpy().tobytes())
        drawn += len(images)
    spent = meter.read()
    rates = {
        "images_per_second": round(drawn / spent["seconds"], 1),
        "images_per_processor_second": round(drawn / spent["processor_seconds"], 1),
    }
    return {"images": drawn, **rates, **spent, "digest": digest.hexdigest()}


def measure_answers(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the cost of 8,000 answers, of which 2 GB are kept, each asked for twice."""
    meter = Meter()
    folder = arguments.scratch / "answers" if arguments.on == "disk" else None
    cache = TeacherCache(Memory().answer_bytes, folder)
    answer = torch.zeros(1, 3, SIZE, SIZE)
    for _ in range(2):
        for key in range(8000):
            cache.answers([key], lambda _: [answer])
    return {"kept": len(cache.kept), "kept_bytes": cache.bytes, **meter.read()}


def measure_compress(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the cost of three steps, which include all that a run does at its start and end."""
    teacher = gs.load_generator("cartoongan", arguments.weights)
    settings = gs.Optimisation(steps=3, slim_share=0.6, batch_size=4, half_size_share=0.0)
    meter = Meter()
    gs.compress(
        teacher,
        arguments.scratch / "photos",
        arguments.scratch / "run",
        gs.Run(budget=gs.Budget(macs=0.05), optimisation=settings, holdout=2, threads=1),
    )
    return {"batch_size": 4, "steps": 3, **meter.read()}


MEASURES = {
    "open": measure_open,
    "draw": measure_draw,
    "answers": measure_answers,
    "compress": measure_compress,
}


if __name__ == "__main__":
    main()
