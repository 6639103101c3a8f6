"""What a training keeps on disk: its log, and the state from which it goes on bit for bit."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gan_slimming.student.surgery import restore

METRICS = "metrics.jsonl"

if TYPE_CHECKING:
    from gan_slimming.training.trainer import Trainer


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Everything that the trainer's next step depends on: tensors, numbers, texts."""
    return {
        "step": trainer.step,
        "seconds": trainer.seconds,
        "kept": trainer.student.kept,
        "identities": trainer.student.identities,
        "student": trainer.student.state_dict(),
        "ema": trainer.ema.state_dict() if trainer.ema is not None else None,
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "critic": trainer.critic.state_dict() if trainer.critic else None,
        "sampler": trainer.sampler.state_dict(),
        "cost_at_cut": trainer.cost_at_cut,
        "random": torch.get_rng_state(),
    }


def load(trainer: Trainer, state: dict[str, Any]) -> None:
    """Bring a fresh trainer to `state`. Its student is as prepared from the same teacher."""
    trainer.step = state["step"]
    trainer.seconds = state["seconds"]
    restore(trainer.student, state["kept"], state["identities"])
    trainer.make_optimizers()
    trainer.student.load_state_dict(state["student"])
    if trainer.step >= trainer.slim_steps:
        for gate in trainer.student.gates:
            gate.requires_grad_(False)
    if state["ema"] is not None:
        trainer.ema = copy.deepcopy(trainer.student)
        trainer.ema.load_state_dict(state["ema"])
    if trainer.critic is not None:
        trainer.critic.load_state_dict(state["critic"])
    for optimizer, saved in zip(trainer.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    trainer.sampler.load_state_dict(state["sampler"])
    trainer.cost_at_cut = state["cost_at_cut"]
    torch.set_rng_state(state["random"])
    forget_later_metrics(trainer.setting.folder, trainer.step)


def log(folder: Path, terms: Mapping[str, float]) -> None:
    """Append one step's terms to metrics.jsonl, floats to six digits."""
    short = {k: v if isinstance(v, int) else float(f"{v:.6g}") for k, v in terms.items()}
    with (folder / METRICS).open("a") as file:
        file.write(json.dumps(short) + "\n")


def forget_later_metrics(folder: Path, step: int) -> None:
    """Steps after the checkpoint are made, and logged, once more."""
    file = folder / METRICS
    if file.is_file():
        lines = file.read_text().splitlines(keepends=True)
        # A line that a crash cut short has no line end.
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        file.write_text("".join(kept))


def save(state: dict[str, Any], folder: Path) -> None:
    """Write the run folder's newest checkpoint, whole or not at all."""
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    unfinished = checkpoints / "last.pt.part"
    torch.save(state, unfinished)
    unfinished.replace(checkpoints / "last.pt")
