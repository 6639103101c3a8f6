"""A run of compress that takes seconds, started many times from one warm process."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gan_slimming.models.registry import build_generator

STEPS = 12
_LATER = (
    "cli", "workflows.compress", "workflows.compress_by_name", "workflows.evaluate",
    "workflows.report", "workflows.translate", "workflows.inspect", "training.train",
    "reports.run", "export.export_model",
)  # fmt: skip
"""Modules that commands import on demand."""


def prepare(place: Path) -> list[str]:
    """Write photos and weights of a tiny generator; return the command without --output."""
    (place / "photos").mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(5):
        pixels = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "photos" / f"{i}.png")
    torch.manual_seed(0)
    network = build_generator("cartoongan", width=4, blocks=1)
    torch.save(network.state_dict(), place / "weights.pth")
    flags = {
        "generator": "cartoongan", "generator-args": '{"width": 4, "blocks": 1}',
        "weights": place / "weights.pth", "data": place / "photos", "size": 32, "steps": STEPS,
        "batch-size": 1, "holdout": 1, "device": "cpu", "precision": "32-true", "threads": 1,
        "distill": "l1", "budget.macs": 0.5, "optimisation.slim_share": 0.5,
        "optimisation.discriminator_width": 2, "checkpoint-seconds": 0,
    }  # fmt: skip
    return ["compress", *(w for name, value in flags.items() for w in (f"--{name}", str(value)))]


def warm_up() -> None:
    """Import all that a run imports, so that a fork of this process starts at once."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    for name in _LATER:
        importlib.import_module(f"gan_slimming.{name}")


def forked(arguments: list[str], told: Path, first: Callable[[], object] = lambda: None) -> int:
    """Start the command in a process of its own; return its id.

    Args:
        told: file for what it prints.
        first: called in the new process before the command.
    """
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        from gan_slimming.cli import main

        first()
        status = main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
