"""compress: a trained generator in (and pictures, where it takes any), a small one out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from gan_slimming.config import Budget, InputContract, Run, UserError
from gan_slimming.data.inputs import Fed, example_inputs, output_side, to_inputs
from gan_slimming.data.training_data import Material, fits, open_material, protocol
from gan_slimming.losses.objective import Distance
from gan_slimming.metrics.complexity import Complexity, count
from gan_slimming.metrics.tracker import Tracker, border, distance_of
from gan_slimming.models.registry import spec_of
from gan_slimming.pruning.reparametrised import whole_copy
from gan_slimming.reports.run import PAGE, report
from gan_slimming.student.layers import keep_channels_last
from gan_slimming.student.student import Student, prepare
from gan_slimming.student.surgery import extract
from gan_slimming.training.artifacts import (
    FLOAT_BYTES,
    beyond_weights,
    cost,
    deliver,
    write_summary,
)
from gan_slimming.training.context import Setting
from gan_slimming.training.device import best_threads, make_fabric
from gan_slimming.training.run_folder import CHECKPOINT, open_run_folder, write_config
from gan_slimming.training.trainer import Trainer

TRACKED = 16
"""Held out pictures that are looked at while training; the final figures are on all of them."""

OnStep = Callable[[int, int, dict[str, float]], None]
"""Called after every step with (step, steps, terms)."""


@dataclass
class Compressed:
    """What compress returns."""

    generator: nn.Module
    """The small generator, a plain module in its own convention, in evaluation mode."""
    summary: dict[str, Any]
    """The JSON of the command."""


def compress(
    teacher: nn.Module,
    data: str | Path | None,
    output: str | Path,
    run: Run | None = None,
    *,
    targets: str | Path | None = None,
    student: nn.Module | None = None,
    discriminator: nn.Module | None = None,
    protect: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    on_step: OnStep | None = None,
    weights: Path | None = None,
    student_source: Path | None = None,
    discriminator_source: str | None = None,
    **settings: Any,
) -> Compressed:
    """Make a trained generator small: one objective, then an exact extraction.

    compress(teacher, "photos/", "runs/small", budget=Budget(macs=0.05), bits=8)

    Args:
        teacher: a trained generator, from `load_generator` or any nn.Module; what it takes and
            gives, pictures or noise, is told by its `.spec.contract` or `.contract`.
        data: folder of pictures to train on; some are held out to track quality. None for a
            generator that takes noise.
        output: the run folder that is made.
        run: settings; the defaults fit a laptop.
        targets: folder of real pictures of the teacher's output domain, for the discriminator;
            without it the teacher's own outputs are the real ones.
        student: where to start from instead of a copy of the teacher: a small generator that is to
            be trained further, or any other that takes and gives the same. It is copied, and its
            hidden layers are not compared with the teacher's.
        discriminator: the other player, such as the one that the teacher was trained against:
            (batch, 3, height, width) RGB in [-1, 1] to logits; copied. None for a fresh PatchGAN.
        protect: shell patterns of modules whose channels stay.
        resume: go on with the run in `output`.
        overwrite: replace a run folder that exists.
        on_step: called after every step with (step, steps, terms).
        weights: the teacher's file, noted down for whoever resumes the run.
        student_source, discriminator_source: what these were loaded from, noted down likewise.
        settings: fields of `Run`, over those of `run`: budget, bits, size, seed and so on.

    Raises:
        UserError: anything that the user can mend, in one line.
        Interrupted: Ctrl-C; the run is saved and can be resumed.
    """
    folder, contract = Path(output), spec_of(teacher).contract
    run = _resolved(dataclasses.replace(run or Run(), **_known(settings)), contract)
    fabric = make_fabric(run, teacher, example_inputs(contract, run.size, teacher))
    torch.manual_seed(run.seed)
    teacher = _frozen(teacher, fabric)
    side = output_side(teacher, contract, run.size)
    example = example_inputs(contract, run.size, teacher)
    dense = count(teacher, example)
    start = teacher
    if student is not None:
        start = _start(student, contract, fabric)
        run = dataclasses.replace(run, budget=_of_teacher(run.budget, dense))
    prepared = _prepared(start, example, run, protect)
    keep_channels_last(teacher)
    material = open_material(contract, run, side, data, targets)
    distance_name, distance = distance_of(run.objective, teacher, contract, fabric.device)
    tracker = Tracker(material.held, border(contract)(teacher), fabric.device)
    setting = _setting(teacher, contract, material, tracker, distance, folder, side)
    setting.discriminator = discriminator
    setting.network = teacher if student is None else None
    if on_step is not None:
        setting.on_step = lambda step, terms: on_step(step, run.optimisation.steps, terms)
    trainer = Trainer(fabric, prepared, run, setting)
    open_run_folder(folder, resume=resume, overwrite=overwrite)
    if resume:
        trainer.load_state(torch.load(folder / CHECKPOINT, weights_only=True))
    else:
        write_config(
            folder, run, teacher, data=data, targets=targets, protect=protect,
            distance=distance_name, weights=weights, discriminator=discriminator_source,
            student=None if student is None else (student, student_source),
            channels={group.name: group.channels for group in prepared.graph.prunable},
        )  # fmt: skip
    final = trainer.fit()
    generator = extract(final)
    summary = cost(run, dense, final, generator, example)
    summary |= {"size": side if contract.latent_size else run.size}
    summary |= {"steps": trainer.step, "seconds": round(trainer.seconds, 1)}
    summary |= deliver(
        folder, run, (teacher, start), final, tracker, generator, setting.border(generator)
    )
    summary["protocol"] = protocol(contract, run, side, len(material.held))
    summary["protocol"]["distance_trained_on"] = distance_name
    summary["report"] = str(folder / PAGE)
    write_summary(folder, summary)
    report(folder)
    return Compressed(generator, summary)


def _prepared(start: nn.Module, example: Fed, run: Run, protect: Sequence[str]) -> Student:
    """The student, and what it costs beyond its weights."""
    prepared = prepare(
        start,
        example,
        bits=run.bits,
        weight_bits=run.weight_bits,
        activation_range=run.activation_range,
        quantize_outputs=run.quantize_outputs,
        protect=protect,
    )
    prepared.graph.fixed_macs = beyond_weights(start, prepared, example)
    return prepared


def _setting(
    teacher: nn.Module,
    contract: InputContract,
    material: Material,
    tracker: Tracker,
    distance: Distance,
    folder: Path,
    side: int,
) -> Setting:
    """What the training works with."""
    wrap = border(contract)
    return Setting(
        teacher=wrap(teacher),
        border=wrap,
        to_input=lambda fed: to_inputs(fed, contract),
        feed=material.feed,
        targets=material.targets,
        distance=distance,
        track=lambda generate: tracker(generate, most=TRACKED),
        folder=folder,
        side=side,
        takes=lambda size: not contract.latent_size and fits(size, contract),
    )


def _resolved(run: Run, contract: InputContract) -> Run:
    """The run with everything decided that depends on the generator or on the machine."""
    noise = contract.latent_size > 0
    if not noise and not fits(run.size, contract):
        raise UserError(
            f"size must be a multiple of {contract.multiple_of} and at least {contract.min_size} "
            f"for this generator, got {run.size}"
        )
    batch_size = run.optimisation.batch(noise)
    optimisation = dataclasses.replace(run.optimisation, batch_size=batch_size)
    threads = run.threads or best_threads()
    return dataclasses.replace(run, optimisation=optimisation, threads=threads)


def _start(student: nn.Module, contract: InputContract, fabric: Fabric) -> nn.Module:
    """A copy of the student on the device, once it is seen to take and give what the teacher does.

    Sizes of pictures may differ: what fits either is found out when it is run.
    """
    own = spec_of(student).contract
    same = {"multiple_of": contract.multiple_of, "min_size": contract.min_size}
    if dataclasses.replace(own, **same) != contract:
        raise UserError(f"the student does not take and give what its teacher does: {own}")
    return _frozen(student, fabric)


def _of_teacher(budget: Budget, dense: Complexity) -> Budget:
    """The budget in units: a fraction is one of the teacher's cost, not of a smaller start's."""
    if budget.kind is None:
        return budget
    size = dense.parameters * FLOAT_BYTES
    whole = {"macs": dense.macs, "parameters": dense.parameters, "bytes": size}
    return Budget(**{budget.kind: budget.amount(whole[budget.kind])})


def _frozen(generator: nn.Module, fabric: Fabric) -> nn.Module:
    """A copy of a generator on the device, that nothing trains."""
    copied = whole_copy(generator).eval().requires_grad_(False).to(fabric.device)
    # Wide convolutions are faster with channels last, and the teacher is run very often.
    for tensor in (*copied.parameters(), *copied.buffers()):
        if tensor.dim() == 4:  # Module.to would stumble over weights of five axes
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return copied


def _known(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    names = [field.name for field in dataclasses.fields(Run)]
    unknown = [name for name in settings if name not in names]
    if unknown:
        raise UserError(f"compress takes no '{unknown[0]}'; settings are {', '.join(names)}")
    return settings
