"""Training beside the paper's released procedure: images a second, and peak memory.

    python benchmarks/training.py --weights Hayao_net_G_float.pth --photos photos/ \
        --scratch scratch/ --output results/training_released.json

now       a run of `compress` to 5 % with its defaults, shortened: its schedule goes by shares of
          the steps, so that its steps stand for those of a whole run
released  plainly what the authors released (Wang et al. 2020): the student keeps all its channels,
          those of gamma 0 too; float32; fake quantisation; VGG-16 on both images each step; the
          discriminator each step on every image

Each is a process of its own, of as many threads. They take turns, one step each, so that a shared
machine slows both alike. Rates are by the processor's time: images over its seconds. The total is
the mean step of each times the steps of a whole run, plus what comes once: the first step's
preparations, and the teacher's answer to every image (both keep answers). VGG's weights are random,
which takes as long. Memory is the peak of what is no file's, in steps from one place to the next.
With the same --scratch an interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

import gan_slimming as gs
from gan_slimming.data.image_files import list_images
from gan_slimming.serialization.provenance import environment
from gan_slimming.training.trainer import Trainer

PLACES = ("start", "half-way", "end")
SHARE = 3
"""Steps that a place's figures are the median of."""


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.side:
        {"now": run_now, "released": run_released}[arguments.side](arguments)
        return
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    rows = take_turns(arguments)
    record = record_of(arguments, rows)
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--generator", default="cartoongan")
    made.add_argument("--weights", type=Path, required=True)
    made.add_argument("--photos", type=Path, required=True)
    made.add_argument("--scratch", type=Path, required=True, help="run folder and rows")
    made.add_argument("--output", type=Path, required=True)
    made.add_argument("--steps", type=int, default=75, help="of the shortened run")
    made.add_argument("--whole-steps", type=int, default=6600, help="of a whole run")
    made.add_argument("--size", type=int, default=256)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--side", choices=("now", "released"), help=argparse.SUPPRESS)
    made.add_argument("--done", type=int, default=0, help=argparse.SUPPRESS)
    return made


def take_turns(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of both sides, a row for each step; those of an earlier try are kept."""
    rows = {side: read_rows(arguments, side) for side in ("now", "released")}
    # Each step of the released procedure costs the same, so those at the places are enough.
    turns = [step for _, steps in places(arguments.steps) for step in steps]
    workers = {side: start(arguments, side, len(rows[side])) for side in rows}
    for step in range(1, arguments.steps + 1):
        if step > len(rows["now"]):
            take(arguments, workers, "now", rows)
        if step in turns and turns.index(step) >= len(rows["released"]):
            take(arguments, workers, "released", rows)
    for worker in workers.values():
        worker.terminate()
        worker.wait()
    return rows


def places(steps: int) -> list[tuple[str, range]]:
    """Return the steps whose figures stand for a place of the run."""
    half = steps // 2
    starts = (2, half - 1, steps - SHARE + 1)
    return [(name, range(at, at + SHARE)) for name, at in zip(PLACES, starts, strict=True)]


def start(arguments: argparse.Namespace, side: str, done: int) -> subprocess.Popen[str]:
    """Start a side, which waits for its turns."""
    words = [sys.executable, __file__, "--side", side, "--done", str(done)]
    for name in ("generator", "weights", "photos", "scratch", "output", "steps", "size", "threads"):
        words += [f"--{name}", str(getattr(arguments, name))]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def take(
    arguments: argparse.Namespace, workers: dict[str, Any], side: str, rows: dict[str, list]
) -> None:
    """Let a side take one step; keep its row."""
    worker = workers[side]
    worker.stdin.write("go\n")
    worker.stdin.flush()
    text = worker.stdout.readline()
    if not text:
        raise SystemExit(f"{side} ended with {worker.wait()}")
    rows[side].append(json.loads(text))
    with (arguments.scratch / f"{side}.jsonl").open("a") as file:
        file.write(text)
    print(side, text.strip(), file=sys.stderr, flush=True)


def read_rows(arguments: argparse.Namespace, side: str) -> list[dict[str, Any]]:
    path = arguments.scratch / f"{side}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


# -- one side --------------------------------------------------------------------------------------


class Meter:
    """Processor seconds and peak memory from one turn to the next.

    Args:
        done: steps of an earlier try, which wait for no turn.
    """

    def __init__(self, done: int) -> None:
        self.done, self.steps, self.teacher = done, 0, 0.0
        self.base = memory("RssAnon")

    def begin(self) -> None:
        """Wait for a turn."""
        self.steps += 1
        if self.steps > self.done:
            sys.stdin.readline()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak begins anew
        self.teacher, self.files = 0.0, memory("RssFile")
        self.wall, self.started = time.monotonic(), time.process_time()

    def end(self, images: int) -> None:
        """Write the row of a step; the teacher's time stands apart."""
        spent = time.process_time() - self.started
        if self.steps > self.done:
            row = {
                "images": images, "seconds": spent - self.teacher, "teacher_seconds": self.teacher,
                "wall_seconds": time.monotonic() - self.wall,
                "peak_bytes": memory("VmHWM") - self.files - self.base,
            }  # fmt: skip
            print(json.dumps({k: round(v, 4) for k, v in row.items()}), file=OUT, flush=True)


OUT = sys.stdout


def memory(field: str) -> int:
    """Return a field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def run_now(arguments: argparse.Namespace) -> None:
    """Take the steps of a run of compress."""
    sys.stdout = sys.stderr
    meter = Meter(arguments.done)
    advance, begin = Trainer.advance, Trainer.begin

    def timed_begin(trainer: Trainer) -> dict[str, float]:
        teacher = trainer.context.teacher
        teacher.register_forward_pre_hook(lambda *_: setattr(meter, "at", time.process_time()))

        def after(*_: Any) -> None:
            meter.teacher += time.process_time() - vars(meter)["at"]

        teacher.register_forward_hook(after)
        started = time.process_time()
        found = begin(trainer)
        seconds = time.process_time() - started
        (arguments.scratch / "begin.json").write_text(json.dumps(seconds))
        return found

    def timed(trainer: Trainer) -> dict[str, float]:
        meter.steps = trainer.step
        meter.begin()
        terms = advance(trainer)
        meter.end(trainer.settings.batch(noise=False))
        return terms

    setattr(Trainer, "advance", timed)  # noqa: B010
    setattr(Trainer, "begin", timed_begin)  # noqa: B010
    setattr(Trainer, "quality", lambda trainer: {})  # noqa: B010
    teacher = gs.load_generator(arguments.generator, arguments.weights)
    folder = arguments.scratch / "run"
    run = gs.Run(
        budget=gs.Budget(macs=0.05), optimisation=gs.Optimisation(steps=arguments.steps),
        size=arguments.size, threads=arguments.threads, device="cpu", checkpoint_seconds=0,
    )  # fmt: skip
    gs.compress(
        teacher, arguments.photos, folder, run, resume=(folder / "checkpoints" / "last.pt").exists()
    )


def run_released(arguments: argparse.Namespace) -> None:
    """Take steps of the released procedure."""
    from released import Released, load_photos

    meter = Meter(arguments.done)
    teacher = gs.load_generator(arguments.generator, arguments.weights)
    photos = load_photos(list_images([arguments.photos])[:8], arguments.size)
    started = time.process_time()
    with torch.no_grad():
        answers = torch.cat([teacher(photo[None]) for photo in photos])
    seconds = (time.process_time() - started) / len(photos)
    (arguments.scratch / "teacher.json").write_text(json.dumps(seconds))
    procedure = Released(teacher)
    order = torch.Generator().manual_seed(0)
    meter.steps = arguments.done
    while True:
        drawn = torch.randint(len(photos), (2, 2), generator=order)
        meter.begin()
        procedure.step(photos[drawn[0]], answers[drawn[0]], answers[drawn[1]])
        meter.end(2)


# -- the record ------------------------------------------------------------------------------------


def record_of(arguments: argparse.Namespace, rows: dict[str, list]) -> dict[str, Any]:
    """Return the record: rates and memory at three places, totals, and how they are meant."""
    photos = len(list_images([arguments.photos]))
    teacher = json.loads((arguments.scratch / "teacher.json").read_text())
    begin = json.loads((arguments.scratch / "begin.json").read_text())
    sides: dict[str, Any] = {}
    for side, taken in rows.items():
        chosen = [taken[i * SHARE : (i + 1) * SHARE] for i in range(len(PLACES))]
        if side == "now":
            chosen = [[taken[step - 1] for step in steps] for _, steps in places(arguments.steps)]
        once = photos * teacher * (2 if side == "now" else 1) + (begin if side == "now" else 0)
        step = mean(row["seconds"] for row in taken)
        sides[side] = {
            "places": {
                name: {
                    "images_per_second": median(r["images"] / r["seconds"] for r in three),
                    "peak_mib": max(r["peak_bytes"] for r in three) >> 20,
                }
                for name, three in zip(PLACES, chosen, strict=True)
            },
            "steps_measured": len(taken),
            "seconds_a_step": step,
            "seconds_once": once,
            "whole_run_hours": (arguments.whole_steps * step + once) / 3600,
        }
    now, released = sides["now"], sides["released"]
    memory_of = [now["places"][name]["peak_mib"] for name in PLACES]
    return {
        "command": "python benchmarks/training.py",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment() | {"cores": os.cpu_count()},
        "protocol": {
            "seconds": "of the processor, one thread each; the machine was shared with others",
            "turns": "one step each, in two processes",
            "size": arguments.size, "batch": 2, "photos": photos,
            "whole_steps": arguments.whole_steps,
            "now": "defaults: half of --size for 95 % of the steps, channels cut while training",
            "released": "dense to the end, whole size, fp32, fake quantisation in 8 bits",
            "once": "the teacher's answers (now: each photo and its mirror image), calibration",
        },
        **sides,
        "times_faster": released["whole_run_hours"] / now["whole_run_hours"],
        "memory_end_to_start": memory_of[-1] / memory_of[0],
    }  # fmt: skip


if __name__ == "__main__":
    main()
