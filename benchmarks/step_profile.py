"""Where the time of a training step goes: student, distance, discriminator, teacher, data, Python.

    python benchmarks/step_profile.py --generator cartoongan --weights Hayao_net_G_float.pth \
        --photos photos/ --macs 0.05 --threads 1 --output profile.json

A short run of `compress` is profiled in three places: the first steps of slimming, on the whole
net; half-way, on the slim net at half the size; the last steps, at full size. Times are those of
the operators themselves (torch.profiler), each charged to the part of the step that called it, an
operator of the backward pass to the part whose forward made it; all together they are scaled to
the step's processor time. Beside it stands the floor: the student's MACs, forward and backward,
over the rate that one large convolution reaches here. With --student the run starts from a slim
generator.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from command import command_line
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from trainer_steps import Step, steps_through

import gan_slimming as gs
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.metrics.complexity import count
from gan_slimming.quantization.fake_quant import Quantizer
from gan_slimming.serialization.provenance import environment

MARK = "part: "
STEP = "other"
"""What is in a step and in no part of it."""
PARTS = {
    "conv": nn.modules.conv._ConvNd,
    "norm": (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm),
    "fake quantisation": Quantizer,
}
"""Layers of the student that are told apart; the rest of it is 'other'."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--generator", default="cartoongan")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--photos", type=Path, help="left out for a generator of noise")
    parser.add_argument("--student", type=Path, help="a slim generator to start from")
    parser.add_argument("--macs", default="0.05")
    parser.add_argument("--steps", type=int, default=48, help="of the short run")
    parser.add_argument("--profiled", type=int, default=4, help="steps in each place")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width-multiple", type=int, default=16)
    parser.add_argument("--optimizer", default="muon")
    parser.add_argument("--compile", default="off", choices=("auto", "on", "off"))
    parser.add_argument("--output", type=Path, help="a JSON record")
    arguments = parser.parse_args()
    told = profile_run(arguments)
    record = {
        "command": command_line(),
        "environment": environment(),
        "images_per_step": 2,
        **told,
    }
    for name, place in told["places"].items():
        print_table(name, place)
    text = json.dumps(record, indent=2)
    if arguments.output:
        arguments.output.write_text(text + "\n")
    print(json.dumps(record))


def profile_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the distance's name, and place -> its parts in ms a step; see the module's text."""
    teacher = gs.load_generator(arguments.generator, arguments.weights)
    student = gs.load_generator_file(arguments.student) if arguments.student else None
    run = gs.Run(
        budget=gs.Budget(macs=None if student else arguments.macs),
        optimisation=gs.Optimisation(
            steps=arguments.steps,
            slim_share=0.3,
            half_size_share=0.7,
            width_multiple=arguments.width_multiple,
            optimizer=arguments.optimizer,
        ),
        threads=arguments.threads,
        compile=arguments.compile,
    )
    last = arguments.steps - arguments.profiled
    starts = {2: "start", int(0.6 * arguments.steps): "half-way", last: "end"}
    profiler = Profiler(starts, arguments.profiled)
    with steps_through(profiler.take), tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        done = gs.compress(teacher, arguments.photos, folder, run, student=student)
    return {"distance": done.summary["protocol"]["distance_trained_on"], "places": profiler.places}


class Profiler:
    """Profiles so many steps of a trainer from each of `starts` on, into `places`."""

    def __init__(self, starts: dict[int, str], steps: int):
        self.starts, self.steps = starts, steps
        self.places: dict[str, dict[str, Any]] = {}
        self.running: tuple[str, int, Any, Callable[[], None]] | None = None
        """The place, its last step, torch's profiler, and what takes the marks off."""
        self.seconds = 0.0

    def take(self, trainer: Any, step: Step) -> dict[str, float]:
        """Take a trainer through one step."""
        if trainer.step in self.starts:
            end = trainer.step + self.steps - 1
            profiler = profile(activities=[ProfilerActivity.CPU])
            self.running = self.starts[trainer.step], end, profiler, mark_parts(trainer)
            self.seconds = 0.0
            profiler.__enter__()
        if self.running is None:
            return step(trainer)
        place, end, profiler, undo = self.running
        started = time.process_time()
        with record_function(MARK + STEP):
            terms = step(trainer)
        self.seconds += time.process_time() - started
        if trainer.step == end:
            profiler.__exit__(None, None, None)
            undo()
            each = self.seconds / self.steps
            self.places[place] = summary_of(trainer, profiler, each, self.steps)
            self.running = None
        return terms


def mark_parts(trainer: Any) -> Callable[[], None]:
    """Let the parts of a step carry marks that the profiler sees; returns what takes them off."""
    hooks: list[Any] = []
    for layer in trainer.student.modules():
        part = next((name for name, kind in PARTS.items() if isinstance(layer, kind)), None)
        if part is not None or layer is trainer.student:
            hooks += _hooks(layer, f"student {part or 'other'}")
    adversary = trainer.discriminator
    context = trainer.context
    if adversary is not None:
        hooks += _hooks(adversary.network, "discriminator")
    hooks += _hooks(context.teacher.generator, "teacher")
    places: list[tuple[Any, str, Any]] = []

    def mark(owner: Any, name: str, part: str) -> None:
        original = getattr(owner, name)
        places.append((owner, name, original))
        setattr(owner, name, _marked(original, part))

    mark(context, "distance", "distance network")
    for optimizer in [*trainer.optimizers, *([adversary.optimizer] if adversary else [])]:
        mark(optimizer, "step", "optimisers")

    def undo() -> None:
        for hook in hooks:
            hook.remove()
        for owner, name, original in places:
            setattr(owner, name, original)

    return undo


def _hooks(layer: nn.Module, part: str) -> list[Any]:
    open_marks: list[Any] = []

    def before(_: nn.Module, __: object) -> None:
        open_marks.append(record_function(MARK + part))
        open_marks[-1].__enter__()

    def after(_: nn.Module, __: object, ___: object) -> None:
        open_marks.pop().__exit__(None, None, None)

    return [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]


def _marked(function: Callable[..., Any], part: str) -> Callable[..., Any]:
    def call(*inputs: Any, **named: Any) -> Any:
        with record_function(MARK + part):
            return function(*inputs, **named)

    return call


def summary_of(trainer: Any, profiler: Any, seconds: float, steps: int) -> dict[str, Any]:
    """Return ms a step of each part, forward and backward, the largest operators, and the floor."""
    parts: dict[str, float] = defaultdict(float)
    operators: dict[str, float] = defaultdict(float)
    events = [event for event in profiler.events() if part_of(event) is not None]
    forward = {
        event.sequence_nr: part_of(event)
        for event in events
        if event.sequence_nr >= 0 and "Backward" not in event.name
    }
    for event in events:
        backward = backward_of(event)
        part = (part_of(event) if backward is None else forward.get(backward)) or STEP
        if event.name.startswith(MARK):
            part, backward = "python", None  # between the operators that it called
        way = "" if backward is None else ", backward"
        parts[part + way] += event.self_cpu_time_total
        operators[f"{part}{way}: {event.name}"] += event.self_cpu_time_total
    # The profiler reads the clock on the wall, which a shared machine stretches.
    to_ms = seconds * 1e3 / sum(parts.values())
    parts = {name: taken * to_ms for name, taken in parts.items()}
    operators = {name: taken * to_ms for name, taken in operators.items()}
    largest = sorted(operators.items(), key=lambda item: -item[1])[:25]
    return {
        "ms_per_step": round(seconds * 1e3, 1),
        "parts_ms": {k: round(v, 1) for k, v in sorted(parts.items(), key=lambda kv: -kv[1])},
        "largest_operators_ms": {name: round(taken, 1) for name, taken in largest},
        "floor": floor_of(trainer),
    }


def part_of(event: Any) -> str | None:
    """Return the innermost mark around an operator; None outside of a step."""
    while event is not None:
        if event.name.startswith(MARK):
            return event.name.removeprefix(MARK)
        event = event.cpu_parent
    return None


def backward_of(event: Any) -> int | None:
    """Return the number of the forward operator whose backward this is; None in a forward pass."""
    while event is not None:
        if event.name.startswith("autograd::engine::evaluate_function"):
            return event.sequence_nr
        event = event.cpu_parent
    return None


def floor_of(trainer: Any) -> dict[str, float]:
    """Return a step's MACs of the student over the rate of one large convolution."""
    side = trainer.run.size // trainer.schedule.downscale
    with torch.random.fork_rng(devices=[]):
        final = trainer.final()
        macs = count(final, dummy_inputs(trainer.context.contract, side, like=final)).macs
    batch = trainer.settings.batch_size
    with trainer.fabric.autocast(), torch.no_grad():
        rate = measured_rate()
    return {
        "macs_per_image": macs,
        "side": side,
        "measured_gmacs_per_second": round(rate / 1e9, 1),
        "student_floor_ms": round(3 * macs * batch / rate * 1e3, 1),
    }


def measured_rate(channels: int = 64, side: int = 64, repeats: int = 20) -> float:
    """MACs a second, by process time, of a 3x3 convolution from `channels` to as many."""
    layer: Any = nn.Conv2d(channels, channels, 3, padding=1)
    layer = layer.to(memory_format=torch.channels_last)
    values = torch.randn(4, channels, side, side).to(memory_format=torch.channels_last)
    if torch.is_autocast_enabled("cpu"):
        layer, values = layer.bfloat16(), values.bfloat16()
    layer(values)
    started = time.process_time()
    for _ in range(repeats):
        layer(values)
    return repeats * 4 * channels**2 * 9 * side**2 / (time.process_time() - started)


def print_table(name: str, place: dict[str, Any]) -> None:
    """Print the parts of one place, largest first, on stderr."""
    print(f"\n{name}: {place['ms_per_step']} ms a step, floor {place['floor']}", file=sys.stderr)
    for title in ("parts_ms", "largest_operators_ms"):
        for part, taken in place[title].items():
            if taken >= 1:
                share = taken / place["ms_per_step"]
                print(f"  {taken:8.1f}  {share:5.1%}  {part}", file=sys.stderr)
        print(file=sys.stderr)


if __name__ == "__main__":
    main()
