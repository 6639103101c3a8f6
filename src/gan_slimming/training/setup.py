"""What a run begins with: settings decided, teacher frozen, student prepared."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import nn

from gan_slimming.config import Budget, InputContract, Objective, Run
from gan_slimming.data.adapter import GeneratorAdapter, dummy_inputs, output_side
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.ranks.launch import count as processes
from gan_slimming.data.whole_copy import whole_copy
from gan_slimming.errors import UserError
from gan_slimming.metrics.complexity import Complexity, count
from gan_slimming.models.as_declared import as_declared
from gan_slimming.models.registry import attach_spec, infer_spec
from gan_slimming.pruning.groups import macs_left
from gan_slimming.student.layers import keep_channels_last
from gan_slimming.student.student import Student, prepare
from gan_slimming.training.device import best_threads, compiles, make_fabric
from gan_slimming.training.test_time import (
    describe_test_time,
    describe_vanishing,
    draws_noise,
    drops,
)
from gan_slimming.training.trials import prefer_channels_last

FLOAT_BYTES = 4


class TestTimeWarning(UserWarning):
    """A warning of what a teacher's images depend on besides their input."""

    __test__ = False  # no test, in spite of its name


@dataclass(frozen=True)
class Setup:
    """Teacher and student on the run's device, before the first step."""

    fabric: Fabric
    run: Run
    """With everything decided that depends on the generator or on the machine."""
    teacher: GeneratorAdapter
    """A frozen copy."""
    start: nn.Module
    """What the student began as: the teacher, or an earlier student."""
    student: Student
    example: Inputs
    """Inputs of batch 1, for which costs are counted."""
    dense: Complexity
    """The teacher's cost."""
    side: int
    """Height and width in pixels of the output."""
    noisy: bool
    """Whether the teacher draws noise inside that is not fixed."""
    channels_last: bool
    """Whether images and weights lie with channels last, which is faster."""

    @property
    def contract(self) -> InputContract:
        """The convention that teacher and student share."""
        return self.teacher.contract


def set_up(
    teacher: nn.Module, run: Run, *, student: nn.Module | None = None, protect: Sequence[str] = ()
) -> Setup:
    """Copy and freeze the teacher, prepare the student, decide what the run leaves open.

    Args:
        teacher: any convolutional generator; it is not changed.
        student: where to start from instead of the teacher; copied.
        protect: shell patterns of modules whose channels stay.
    Raises:
        UserError: size, device, precision or budget do not fit; no channels can be followed.
    """
    spec = infer_spec(teacher)
    contract = _at_test_time(spec.contract, run)
    run = _decided(run, contract)
    frozen = _frozen(teacher)
    attach_spec(frozen, dataclasses.replace(spec, contract=contract))
    as_declared(frozen, contract)
    fabric = make_fabric(run, frozen, dummy_inputs(contract, run.size, like=teacher))
    torch.manual_seed(run.seed)
    frozen.to(fabric.device)
    side = output_side(frozen, contract, run.size)
    if run.dropout == "off" and drops(frozen, contract, run.size):
        contract = dataclasses.replace(contract, dropout="off")
        attach_spec(frozen, dataclasses.replace(spec, contract=contract))
        as_declared(frozen, contract)
    noisy = draws_noise(frozen, contract, run.size)
    if note := describe_vanishing(frozen, contract, run.size):
        raise UserError(note)
    if note := describe_test_time(frozen, contract, run.size):
        warnings.warn(note, TestTimeWarning, stacklevel=3)
    last = prefer_channels_last(frozen, contract, run.size)
    example = dummy_inputs(contract, run.size, like=frozen)
    dense = count(frozen, example)
    start = frozen
    if student is not None:
        start = _start(student, contract, fabric)
        last = last and prefer_channels_last(start, contract, run.size)
        run = dataclasses.replace(run, budget=_absolute(run.budget, dense))
    prepared = _prepared(start, example, run, protect)
    if last:
        keep_channels_last(frozen)
    adapter = GeneratorAdapter(frozen, contract)
    return Setup(fabric, run, adapter, start, prepared, example, dense, side, noisy, last)


def _at_test_time(contract: InputContract, run: Run) -> InputContract:
    """Return the contract with the statistics and the noise that the run asks for."""
    if run.teacher_mode == "train":
        contract = dataclasses.replace(contract, statistics="image")
    return dataclasses.replace(contract, fixed_noise=contract.fixed_noise or run.fix_noise)


def _decided(run: Run, contract: InputContract) -> Run:
    """Return the run with batch size, threads and compiling, once its size is seen to fit."""
    noise = contract.latent_size > 0
    if not noise:
        contract.check_side(run.size)
    batch_size = run.optimisation.batch(noise)
    if batch_size % processes():
        more = processes() * -(-batch_size // processes())
        raise UserError(
            f"the {batch_size} images of a step cannot be shared equally by {processes()} "
            f"processes; take --batch-size {more}, or another number of processes"
        )
    optimisation = dataclasses.replace(run.optimisation, batch_size=batch_size)
    threads = run.threads or best_threads()
    objective = _of_waveforms(run) if contract.signal else run.objective
    return dataclasses.replace(
        run, optimisation=optimisation, threads=threads, objective=objective, compile=compiles(run)
    )


def _of_waveforms(run: Run) -> Objective:
    """Return the objective without the terms of images; raise UserError where one is asked for."""
    if run.target.kind in ("lpips", "flip"):
        raise UserError(
            f"target.{run.target.kind} is for images; take --target.psnr or a budget for waveforms"
        )
    if run.objective.adversarial not in ("auto", "none"):
        raise UserError("the GAN game is for images; leave out --adversarial for waveforms")
    terms = dict.fromkeys(("pixel_weight", "colour_weight", "lattice_weight"), 0.0)
    return dataclasses.replace(run.objective, adversarial="none", **terms)


def _prepared(start: nn.Module, example: Inputs, run: Run, protect: Sequence[str]) -> Student:
    """Return the student, its graph with the cost beyond weights, such as attention's products."""
    prepared = prepare(
        start,
        example,
        bits=run.bits,
        weight_bits=run.weight_bits,
        activation_range=run.activation_range,
        quantize_outputs=run.quantize_outputs,
        protect=protect,
    )
    prepared.graph.fixed_macs = max(0, count(start, example).macs - macs_left(prepared.graph, {}))
    return prepared


def _start(student: nn.Module, contract: InputContract, fabric: Fabric) -> nn.Module:
    """Return a frozen copy of the student, once it is seen to take and give what the teacher does.

    Sizes of images may differ: what fits either is found out when it is run.
    """
    own = infer_spec(student).contract
    same = {"multiple_of": contract.multiple_of, "min_size": contract.min_size}
    if dataclasses.replace(own, **same) != contract:
        raise UserError(f"the student does not take and give what its teacher does: {own}")
    frozen = _frozen(student)
    frozen.to(fabric.device)
    return frozen


def _absolute(budget: Budget, dense: Complexity) -> Budget:
    """Return the budget in units: a fraction is one of the teacher's cost, not of the start's."""
    if budget.kind is None:
        return budget
    size = dense.parameters * FLOAT_BYTES
    whole = {"macs": dense.macs, "parameters": dense.parameters, "bytes": size}
    return Budget(**{budget.kind: budget.amount(whole[budget.kind])})


def _frozen(generator: nn.Module) -> nn.Module:
    """Return a copy of a generator that nothing trains, in evaluation mode."""
    frozen = whole_copy(generator).requires_grad_(False)
    frozen.eval()  # a user's own eval may return nothing
    return frozen
