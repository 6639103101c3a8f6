"""Trains one variant of benchmarks/fidelity.py for so many minutes of processor time.

    PYTHONPATH=<checkout>/src python benchmarks/fidelity_worker.py task.json

Runs with whatever revision of the package PYTHONPATH names, so it relies on little. Where runs go
by the clock (--minutes), that clock is replaced. Of earlier revisions it needs `compress`, and the
trainer's `step`, `slim_steps`, `settings`, `train_step`, `fit` and `final`: schedules follow the
clock in place of the step, and what is left of the time is the rest of the cosine. The clock stands
while students draw at checkpoints.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fidelity_clock import Clock, PriceClock
from safetensors.torch import load_file, save_file

import gan_slimming as gs
from gan_slimming.training import trainer as module
from gan_slimming.training.trainer import Trainer

FULL_SIZE_COST = 4.0
"""Time of a step at full size over that of one at half the size."""
ENDLESS = 10**9
"""Steps that no run reaches: the clock ends it."""
ALMOST = 1e-6
BY_CLOCK = hasattr(module, "Stopwatch")
"""Whether this revision's runs go by the clock themselves."""


class TimeIsUp(Exception):
    """Ends a run from inside its step."""


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(task["folder"])
    torch.manual_seed(task["seed"])
    teacher = gs.load_generator(task["generator"], task["weights"])
    student = gs.load_generator_file(task["student"]) if task["student"] else None
    run = run_of(task, keeps_its_size=student is not None)
    clock = Clock(task["threads"], wall=torch.cuda.is_available())
    if task.get("answers"):
        clock = PriceClock()
        clock.keep_answers(Path(task["answers"]))
    if BY_CLOCK:
        use_clock(clock, task["checkpoints"], folder, Path(task["inputs"]))
    else:
        follow_clock(clock, task["seconds"], task["checkpoints"], folder, Path(task["inputs"]))
    try:
        gs.compress(teacher, task["photos"], folder / "run", run, student=student, overwrite=True)
    except TimeIsUp:
        print(json.dumps({"seconds": clock.seconds()}))


def run_of(task: dict[str, Any], *, keeps_its_size: bool) -> gs.Run:
    """Return the run's settings: the defaults of this revision, and the variant's changes."""
    changes = task["settings"]
    length = {"minutes": task["seconds"] / 60} if BY_CLOCK else {"steps": task["planned_steps"]}
    optimisation = {**length, **changes.get("optimisation", {})}
    return gs.Run(
        budget=gs.Budget(macs=None if keeps_its_size else task["macs"]),
        objective=gs.Objective(**changes.get("objective", {})),
        optimisation=gs.Optimisation(**optimisation),
        threads=task["threads"],
        seed=task["seed"],
        **{name: value for name, value in changes.items() if not isinstance(value, dict)},
    )


class Replaced:
    """The stopwatch of a trainer, which shows a clock of the benchmark."""

    def __init__(self, clock: Clock):
        self.clock = clock

    @property
    def seconds(self) -> float:
        """Return the seconds so far."""
        return self.clock.seconds()

    def set(self, seconds: float) -> None:
        """Do nothing: runs of the benchmark are not resumed."""

    def lap(self) -> AbstractContextManager[None]:
        """Return a context in which the clock goes, as it does always."""
        return nullcontext()


def use_clock(clock: Clock, checkpoints: Sequence[float], folder: Path, inputs: Path) -> None:
    """Let trainers go by this clock, and draw the inputs at `checkpoints`.

    Args:
        checkpoints: seconds, rising; the last is the end.
    """
    train_step, waiting = Trainer.train_step, list(checkpoints)
    slimmed: list[float] = []

    def clocked_step(trainer: Any) -> dict[str, float]:
        if not slimmed and not trainer.schedule.stage.slimming:
            slimmed.append(clock.seconds())
        terms = clock.step(trainer, partial(train_step, trainer))
        while waiting and clock.seconds() >= waiting[0]:
            name = folder / f"{waiting.pop(0):g}"
            facts = {"seconds": clock.seconds(), "slimming_seconds": sum(slimmed) or None}
            clock.away(partial(draw, trainer, facts, name, inputs))
        return terms

    # The last look is where the run ends by the same clock, and leaves its folder.
    setattr(module, "Stopwatch", lambda _: Replaced(clock))  # noqa: B010
    setattr(Trainer, "train_step", clocked_step)  # noqa: B010


def follow_clock(
    clock: Clock, seconds: float, checkpoints: Sequence[float], folder: Path, inputs: Path
) -> None:
    """From here on trainers end after so many seconds, and draw the inputs at `checkpoints`.

    Args:
        checkpoints: seconds, rising; the last is the end.
    """
    # The loop of version 0.1 is the trainer's own; now it begins with `begin`.
    loop = "fit" if hasattr(Trainer, "fit") else "begin"
    start, train_step = getattr(Trainer, loop), Trainer.train_step
    waiting = list(checkpoints)
    planned: dict[str, float] = {}

    def endless(trainer: Any) -> Any:
        planned["steps"] = trainer.settings.steps
        trainer.settings = dataclasses.replace(trainer.settings, steps=ENDLESS)
        return start(trainer)

    def clocked_step(trainer: Any) -> dict[str, float]:
        if trainer.step == trainer.slim_steps:
            planned["slimmed"] = clock.seconds()
        steps = planned["steps"]
        if "slimmed" in planned:
            done = (clock.seconds() - planned["slimmed"]) / (seconds - planned["slimmed"])
            done = share_of_steps(done, trainer.settings.half_size_share)
            recovered = trainer.step - trainer.slim_steps
            if recovered:
                steps = trainer.slim_steps + recovered / max(done, ALMOST)
        trainer.settings = dataclasses.replace(
            trainer.settings, steps=max(trainer.step + 2, round(steps))
        )
        terms = clock.step(trainer, partial(train_step, trainer))
        while waiting and clock.seconds() >= waiting[0]:
            name = folder / f"{waiting.pop(0):g}"
            facts = {"seconds": clock.seconds(), "slimming_seconds": planned.get("slimmed")}
            clock.away(partial(draw, trainer, facts, name, inputs))
        if not waiting:
            raise TimeIsUp
        return terms

    setattr(Trainer, loop, endless)
    setattr(Trainer, "train_step", clocked_step)  # noqa: B010


def share_of_steps(time_share: float, half: float) -> float:
    """Return the share of the steps that is over after a share of the time, for two step costs.

    Args:
        half: the share of the steps at half the size, the cheap ones, which come first.
    """
    whole = half + (1 - half) * FULL_SIZE_COST
    spent = min(1.0, max(0.0, time_share)) * whole
    return spent if spent <= half else half + (spent - half) / FULL_SIZE_COST


@torch.no_grad()
def draw(trainer: Any, facts: dict[str, Any], name: Path, inputs: Path) -> None:
    """Write what the student of now makes of the inputs, in bytes, and where it stands."""
    student = trainer.final()
    context = trainer.context if hasattr(trainer, "context") else trainer.setting
    adapt = context.adapt if hasattr(context, "adapt") else context.border
    generate = adapt(student)
    made = []
    for batch in load_file(inputs)["inputs"].split(1):
        values = batch.float() / 127.5 - 1 if batch.dtype == torch.uint8 else batch
        image = generate(values.to(trainer.fabric.device)).float().clamp(-1, 1)
        made.append(((image + 1) * 127.5).round().to(torch.uint8).cpu())
    save_file({"images": torch.cat(made).contiguous()}, name.parent / f"{name.name}.safetensors")
    facts |= {
        "step": trainer.step + 1,
        "slim_steps": trainer.schedule.stage.first_step if BY_CLOCK else trainer.slim_steps,
        "parameters": sum(p.numel() for p in student.module.parameters()),
        "macs": trainer.cost_at_cut,
    }
    (name.parent / f"{name.name}.json").write_text(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
