"""The machine: its device, its fast floating-point format, the number of threads that pays."""

from __future__ import annotations

import logging
import os
import time
import warnings
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from gan_slimming.config import Run
from gan_slimming.data.ranks.launch import alone, count, local_count, local_rank
from gan_slimming.errors import UserError
from gan_slimming.graph.fusion import missing_for_fusion
from gan_slimming.serialization.resolve import choose_device
from gan_slimming.training.bfloat16 import wrong_in_bfloat16
from gan_slimming.training.trials import no_bfloat16


def make_fabric(run: Run, teacher: nn.Module, example: tuple[Tensor, ...]) -> Fabric:
    """Return Lightning Fabric on one device, and set the number of threads.

    Args:
        teacher: frozen; with its example inputs it decides whether bfloat16 can be used. It may
            have moved to the device afterwards.
    Raises:
        UserError: this machine, or the teacher, does not have what was asked for.
    """
    device = choose_device(run.device)
    processes = _processes(device)
    precision: Any = run.precision
    if precision == "auto":
        precision = "bf16-mixed" if fast_bfloat16(device.type) else "32-true"
    if precision == "bf16-mixed":
        precision = _bfloat16_or_not(run, teacher, example, device.type)
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        fabric = Fabric(accelerator=device.type, precision=precision, **processes)
    except ValueError as error:
        raise UserError(
            f"precision must be auto, 32-true or bf16-mixed, got {run.precision}"
        ) from error
    fabric.launch()
    return fabric


def _bfloat16_or_not(
    run: Run, teacher: nn.Module, example: tuple[Tensor, ...], device: str
) -> Literal["bf16-mixed", "32-true"]:
    """Return the precision in which this teacher and its students compute rightly.

    Raises:
        UserError: that is not bf16-mixed, and it was asked for.
    """
    missing = no_bfloat16(teacher, example, device)
    wrong = wrong_in_bfloat16(teacher) if device == "cpu" and not missing else ""
    if not (missing or wrong):
        return "bf16-mixed"
    if run.precision != "auto":
        reason = missing or f"this CPU computes its convolutions of {wrong} wrongly"
        raise UserError(
            f"this generator does not compute in bf16-mixed ({reason}); use --precision auto"
        )
    if wrong:
        warnings.warn(
            f"this CPU computes convolutions of {wrong} wrongly in bfloat16, so the run computes "
            "in float32",
            stacklevel=3,
        )
    return "32-true"


def _processes(device: torch.device) -> dict[str, Any]:
    """Return Fabric's arguments for the devices of the run's processes, as torchrun started them.

    Raises:
        UserError: there is no device for each of them.
    """
    if alone():
        return {"devices": 1 if device.index is None else [device.index]}
    if device.index is not None or device.type not in ("cpu", "cuda"):
        raise UserError(f"torchrun needs --device cpu or cuda, got {device}")
    if device.type == "cuda":
        if local_count() > torch.cuda.device_count():
            raise UserError(
                f"{local_count()} processes of this machine have {torch.cuda.device_count()} GPUs; "
                f"take --nproc-per-node {torch.cuda.device_count()}"
            )
        torch.cuda.set_device(local_rank())
    nodes = count() // local_count()
    return {"devices": local_count(), "num_nodes": nodes, "strategy": "ddp"}


def fast_bfloat16(device: str) -> bool:
    """Return whether bfloat16 pays on this device: newer GPUs, CPUs with instructions for it."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def compiles(run: Run) -> Literal["on", "off"]:
    """Return whether what can be fused is compiled in this run, as far as this machine can.

    Warns:
        UserWarning: it was asked for, and no compiler works here.
    """
    pays = run.long and choose_device(run.device).type == "cpu"
    if run.compile == "off" or (run.compile == "auto" and not pays):
        return "off"
    missing = missing_for_fusion()
    if missing and run.compile == "on":
        warnings.warn(
            f"nothing is compiled, so steps take longer: no C++ compiler works here ({missing}); "
            "install one, such as g++",
            stacklevel=2,
        )
    return "off" if missing else "on"


def best_threads() -> int:
    """Return one thread or all, whichever trains a small convolutional net faster just now.

    On a shared machine threads wait for each other at the end of every operator, which can make
    two cores slower than one. OMP_NUM_THREADS is obeyed where it is set.
    """
    most = torch.get_num_threads()
    if most == 1 or "OMP_NUM_THREADS" in os.environ:
        return most
    seconds = {threads: _seconds_of_a_step(threads) for threads in (1, most)}
    torch.set_num_threads(most)
    return min(seconds, key=lambda threads: seconds[threads])


def _seconds_of_a_step(threads: int, steps: int = 5) -> float:
    torch.set_num_threads(threads)
    layers = [
        nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.InstanceNorm2d(16), nn.ReLU())
        for _ in range(4)
    ]
    net = nn.Sequential(*layers)
    images = torch.zeros(2, 16, 96, 96)
    net(images).sum().backward()
    taken = []
    for _ in range(steps):
        start = time.perf_counter()
        net(images).sum().backward()
        taken.append(time.perf_counter() - start)
    return sorted(taken)[steps // 2]
