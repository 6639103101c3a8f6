"""The student's optimisers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from gan_slimming.config import Optimisation
from gan_slimming.student.student import Student
from gan_slimming.training.muon import Muon, inner_kernels


def stage_optimizers(
    student: Student, settings: Optimisation, *, slimming: bool
) -> list[torch.optim.Optimizer]:
    """Return all optimisers of a stage; in slimming the last is that of the gates."""
    ranges = range_optimizer(student, settings)
    made = weight_optimizers(student, settings, settings.lr if slimming else settings.recover_lr)
    made += [ranges] if ranges else []
    return [*made, gate_optimizer(student, settings)] if slimming else made


def weight_optimizers(
    student: Student, settings: Optimisation, lr: float
) -> list[torch.optim.Optimizer]:
    """Return the optimisers of all weights, without gates and ranges: Adam, after Muon if asked.

    Args:
        lr: Adam's rate in this stage.
    """
    groups = inner_kernels(student) if settings.optimizer == "muon" else []
    taken = {id(kernel) for group in groups for kernel in group["params"]}
    rest = [weight for weight in student.weights() if id(weight) not in taken]
    made: list[torch.optim.Optimizer] = [Muon(groups, lr=settings.muon_lr)] if groups else []
    if rest:
        decay = settings.weight_decay
        made.append(torch.optim.Adam(rest, lr=lr, betas=settings.betas, weight_decay=decay))
    return made


def range_optimizer(student: Student, settings: Optimisation) -> torch.optim.Optimizer | None:
    """Return Adam on the learnt activation ranges, each with a rate relative to its size.

    A step of Adam is about as long as its learning rate, whatever the gradient.
    """
    groups = [
        {"params": [scale], "lr": settings.range_lr * float(scale.detach())}
        for scale in student.ranges()
    ]
    return torch.optim.Adam(groups, betas=settings.betas) if groups else None


def gate_optimizer(student: Student, settings: Optimisation) -> torch.optim.Optimizer:
    """Return SGD on the gates, as in the paper."""
    return torch.optim.SGD(
        list(student.gates), lr=settings.gate_lr, momentum=settings.gate_momentum
    )


def forget_removed(optimizers: Iterable[torch.optim.Optimizer], student: Student) -> None:
    """Drop the parameters of a removed block, in place.

    They would take no more steps, but a checkpoint would hold more than the student it restores.
    """
    present = {id(parameter) for parameter in student.parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if id(parameter) not in present:
                    optimizer.state.pop(parameter, None)
            group["params"] = [p for p in group["params"] if id(p) in present]
        filled = [group for group in optimizer.param_groups if group["params"]]
        optimizer.param_groups = filled or optimizer.param_groups[:1]


def scale_learning_rates(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Set every learning rate to `factor` times what it was made with."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("full_lr", group["lr"]) * factor
