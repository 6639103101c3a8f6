"""What all rows of a table share, and what their stages make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from gan_slimming.config import Run, WeightsFile
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.experiments.folder import TableFolder
from gan_slimming.experiments.methods import Stage, merged, run_of
from gan_slimming.experiments.systems import System
from gan_slimming.metrics.complexity import count
from gan_slimming.models.registry import spec_of
from gan_slimming.training.setup import FLOAT_BYTES


@dataclass(frozen=True)
class Table:
    """What all rows of a table have in common."""

    system: System
    folder: TableFolder
    teacher: nn.Module
    weights: WeightsFile
    data: Path | None
    test: Path | None
    targets: Path | None
    test_targets: Path | None
    partner: Path | None
    command: str
    """The command that goes on with the table."""
    on_step: Callable[[int, int, dict[str, float]], None] | None = None

    @property
    def factory(self) -> str | None:
        """Return the name of a factory of the user's own."""
        return self.system.generator if ":" in self.system.generator else None

    def run(self, stage: Stage) -> Run:
        """Return a stage's settings, without budget and length."""
        of_stage = stage.settings if stage.make in ("compress", "quantize") else {"bits": "none"}
        common = merged(self.system.settings, {"seed": self.system.seed})
        return run_of(merged(common, of_stage))

    @property
    def takes_noise(self) -> bool:
        """Return whether the generator takes noise, and so needs no images."""
        return spec_of(self.teacher).contract.latent_size > 0

    @property
    def size(self) -> int:
        """Return height and width in pixels of the images."""
        return int(self.system.settings.get("size", Run().size))

    def costs(self) -> dict[str, Any]:
        """Return the teacher's cost for one image of the table's size."""
        contract = spec_of(self.teacher).contract
        cost = count(self.teacher, dummy_inputs(contract, self.size, like=self.teacher))
        size_bytes = cost.parameters * FLOAT_BYTES
        return {"macs": cost.macs, "parameters": cost.parameters, "size_bytes": size_bytes}


@dataclass(frozen=True)
class Made:
    """What a stage has made."""

    make: str
    generator: Path
    steps: int
    seconds: float
    settings: Mapping[str, Any]
