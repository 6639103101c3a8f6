"""GAN Slimming: make a trained GAN generator small, exactly, and quantised.

import gan_slimming as gs

teacher = gs.load_generator("cartoongan", "Hayao_net_G_float.pth")
run = gs.compress(teacher, "photos/", "runs/hayao", gs.Run(budget=gs.Budget(macs=0.05)))
run.generator(images)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gan_slimming.config import (
    Budget,
    ExtraInput,
    InputContract,
    Memory,
    Objective,
    Optimisation,
    Run,
    Target,
)
from gan_slimming.errors import Interrupted, UserError

if TYPE_CHECKING:
    from gan_slimming.export.export_model import export_model as export
    from gan_slimming.models.discriminators import load_discriminator
    from gan_slimming.models.registry import load_generator
    from gan_slimming.serialization.generator_file import load_generator_file
    from gan_slimming.student.student import Student, calibrate, prepare
    from gan_slimming.student.surgery import cut, extract
    from gan_slimming.workflows.compress import Compressed, compress
    from gan_slimming.workflows.evaluate import evaluate

_HOMES = {
    "Compressed": "workflows.compress",
    "Student": "student.student",
    "calibrate": "student.student",
    "compress": "workflows.compress",
    "cut": "student.surgery",
    "evaluate": "workflows.evaluate",
    "extract": "student.surgery",
    "load_discriminator": "models.discriminators",
    "load_generator": "models.registry",
    "load_generator_file": "serialization.generator_file",
    "prepare": "student.student",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that --help and the settings need not wait for torch."""
    if name == "export":  # a package that is called like the function
        return import_module("gan_slimming.export")
    if name not in _HOMES:
        raise AttributeError(f"module 'gan_slimming' has no attribute '{name}'")
    return getattr(import_module(f"gan_slimming.{_HOMES[name]}"), name)


__all__ = [
    "Budget",
    "Compressed",
    "ExtraInput",
    "InputContract",
    "Interrupted",
    "Memory",
    "Objective",
    "Optimisation",
    "Run",
    "Student",
    "Target",
    "UserError",
    "calibrate",
    "compress",
    "cut",
    "evaluate",
    "export",
    "extract",
    "load_discriminator",
    "load_generator",
    "load_generator_file",
    "prepare",
]
