"""What torch.compile saves of a training step: fake quantisation and the distance, fused and not.

    python benchmarks/fused_steps.py --weights Hayao_net_G_float.pth --photos photos/ \
        --student cartoon-hayao --output results/fused_steps/hayao.json

A slim student is trained further on few photos, whose answers of the teacher are soon all kept.
Every other step runs compiled, so that both kinds meet the same images, sizes and neighbours on the
machine. Reported are medians of processor time, at half the size and at full size, and the share of
the compiled steps that are quicker than the median of the others.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from command import command_line
from trainer_steps import Step, steps_through

import gan_slimming as gs
from gan_slimming.graph.fusion import fusing
from gan_slimming.serialization.provenance import environment
from gan_slimming.serialization.resolve import model_file

PHOTOS = 12
"""Photos that are trained on, two of which are held out."""
WARM_UP = 8
"""Steps of each kind and size that are not counted: they compile, and they meet new images."""


def main() -> None:
    given = parser().parse_args()
    teacher = gs.load_generator(given.generator, given.weights)
    file = model_file(given.student)
    if file is None:
        raise SystemExit(f"{given.student} is no student")
    run = gs.Run(
        optimisation=gs.Optimisation(steps=given.steps, half_size_share=0.5),
        threads=given.threads,
        holdout=2,
        compile="on",
    )
    seconds: dict[tuple[int, bool], list[float]] = defaultdict(list)
    with steps_through(partial(timed, seconds)), tempfile.TemporaryDirectory() as name:
        student = gs.load_generator_file(file)
        photos = few_photos(given.photos, Path(name) / "photos")
        done = gs.compress(teacher, photos, Path(name) / "run", run, student=student)
    record = {
        "generator": given.generator,
        "student": given.student,
        "threads": given.threads,
        "distance": done.summary["protocol"]["distance_trained_on"],
        "sizes": {size: row_of(seconds, size) for size in ("half", "full")},
        "command": command_line(),
        "environment": environment(),
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record["sizes"], indent=2))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's flags."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--generator", default="cartoongan")
    made.add_argument("--weights", type=Path, required=True, help="of the teacher")
    made.add_argument("--photos", type=Path, required=True)
    made.add_argument("--student", required=True, help="a slim generator's file, folder or name")
    made.add_argument("--steps", type=int, default=96)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--output", type=Path, required=True)
    return made


def few_photos(folder: Path, made: Path) -> Path:
    """Make a folder of links to the first photos of another."""
    made.mkdir()
    for photo in sorted(folder.iterdir())[:PHOTOS]:
        (made / photo.name).symlink_to(photo.absolute())
    return made


def timed(seconds: dict[tuple[int, bool], list[float]], trainer: Any, step: Step) -> Any:
    """Take a step, every other one compiled, and note its time."""
    compiled = trainer.step % 2 == 0
    started = time.process_time()
    with fusing(compiled):
        terms = step(trainer)
    seconds[trainer.schedule.downscale, compiled].append(time.process_time() - started)
    return terms


def row_of(seconds: dict[tuple[int, bool], list[float]], size: str) -> dict[str, float]:
    """Return medians in milliseconds, and how often a compiled step is the quicker one."""
    scale = {"half": 2, "full": 1}[size]
    fused, plain = seconds[scale, True][WARM_UP:], seconds[scale, False][WARM_UP:]
    middle = statistics.median(plain)
    return {
        "steps": len(fused) + len(plain),
        "plain_ms": round(1e3 * middle, 1),
        "fused_ms": round(1e3 * statistics.median(fused), 1),
        "ratio": round(middle / statistics.median(fused), 3),
        "quicker": round(sum(each < middle for each in fused) / len(fused), 3),
    }


if __name__ == "__main__":
    main()
