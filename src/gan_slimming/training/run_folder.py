"""The run folder: what was asked for, with which teacher, where, and what came out."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from gan_slimming.config import Budget, Objective, Optimisation, Run, UserError
from gan_slimming.models.registry import spec_of

CONFIG = "config.yaml"
CHECKPOINT = Path("checkpoints") / "last.pt"


def open_run_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder, or see that it can be resumed; nothing of the user's is ever lost.

    Raises:
        UserError: it exists and neither resume nor overwrite was asked for, or it is no run folder.
    """
    if resume:
        if (folder / "summary.json").is_file():
            raise UserError(f"{folder} is finished, there is nothing to resume; start a new run")
        if not (folder / CHECKPOINT).is_file():
            raise UserError(f"{folder} holds no checkpoint to resume from; start without --resume")
        return
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name another --output")
    if folder.exists() and any(folder.iterdir()):
        if not overwrite:
            raise UserError(
                f"{folder} exists and is not empty; name another --output, go on with --resume, or "
                f"replace it with --overwrite"
            )
        if not (folder / CONFIG).is_file():
            raise UserError(f"{folder} is not a run folder, so it is not overwritten")
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"cannot make the folder {folder} ({reason}); name another --output") from (
            error
        )


def write_config(
    folder: Path,
    run: Run,
    teacher: nn.Module,
    *,
    data: str | Path | None,
    targets: str | Path | None,
    protect: Sequence[str],
    distance: str,
    weights: Path | None,
    student: tuple[nn.Module, Path | None] | None = None,
    discriminator: str | None = None,
    channels: Mapping[str, int] | None = None,
) -> None:
    """Save all resolved settings, the teacher's fingerprint and the environment.

    Args:
        student: what the run starts from, where that is no copy of the teacher, and its file.
        channels: of each prunable group, at the start.
    """
    spec = spec_of(teacher)
    record = {
        "generator": {
            "name": spec.name,
            "arguments": spec.arguments,
            "weights": str(weights.resolve()) if weights else None,
            "sha256": fingerprint(teacher),
        },
        "student": student
        and {
            "file": str(student[1].resolve()) if student[1] else None,
            "sha256": fingerprint(student[0]),
        },
        "data": str(Path(data).resolve()) if data else None,
        "targets": str(Path(targets).resolve()) if targets else None,
        "discriminator": discriminator,
        "protect": list(protect),
        "distance": distance,
        "channels": dict(channels or {}),
        "run": dataclasses.asdict(run),
        "environment": environment(),
    }
    (folder / CONFIG).write_text(yaml.safe_dump(_plain(record), sort_keys=False))


def read_run(folder: Path) -> tuple[Run, dict[str, Any]]:
    """The settings of a run folder, and the whole record beside them."""
    file = folder / CONFIG
    if not file.is_file():
        raise UserError(f"{folder} is no run folder: it has no {CONFIG}")
    record = yaml.safe_load(file.read_text())
    settings = dict(record["run"])
    optimisation = settings.pop("optimisation")
    optimisation["betas"] = tuple(optimisation["betas"])
    run = Run(
        budget=Budget(**settings.pop("budget")),
        objective=Objective(**settings.pop("objective")),
        optimisation=Optimisation(**optimisation),
        **settings,
    )
    return run, record


def environment() -> dict[str, Any]:
    """Where a run takes place: versions, hardware, and the code's commit if it is a checkout."""
    here = Path(__file__).parent
    found = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    names = ("gan-slimming", "torch", "lightning-fabric", "safetensors")
    return {
        "versions": {n: version(n) for n in names} | {"python": platform.python_version()},
        "commit": found.stdout.strip() or None,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over a module's tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, torch.Tensor):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
