"""The content of a run folder for a report; missing or damaged parts are left out.

Only config.yaml is required. Runs of earlier versions wrote less. A run under way has no summary,
and its last line may be incomplete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_slimming.config import Run
from gan_slimming.errors import UserError
from gan_slimming.reports import record_shapes as shapes
from gan_slimming.reports.record_shapes import Shape, fits, is_histogram, without_nothing
from gan_slimming.serialization.generator_file import read_header
from gan_slimming.serialization.logs import parsed, whole_lines
from gan_slimming.serialization.run_folder import RunFolder


@dataclass(frozen=True)
class RunData:
    """The records of a run, finished or under way."""

    folder: Path
    """The run folder."""
    run: Run
    """Its settings."""
    record: Mapping[str, Any]
    """All of config.yaml: generator, data, channels, environment."""
    metrics: Sequence[Mapping[str, Any]]
    """Lines of metrics.jsonl, one per step."""
    gates: Sequence[Mapping[str, Any]]
    """Lines of gates.jsonl, at some steps of slimming."""
    held_out: Sequence[Mapping[str, Any]]
    """Lines of held_out.jsonl, one per held-out image."""
    ranges: Sequence[Mapping[str, Any]]
    """Ranges of each quantised layer."""
    layers: Mapping[str, Any]
    """'teacher' and 'student' -> the cost of each layer."""
    summary: Mapping[str, Any]
    """summary.json; empty for a run under way."""
    kept: Mapping[str, Sequence[int]] | None
    """Channel group -> indices of the teacher's channels kept; None before the end."""
    benchmark: Mapping[str, Any]
    """Output of `benchmark`, if saved as benchmark.json."""
    warnings: Sequence[str]
    """Files and lines that could not be read."""

    @property
    def steps(self) -> int:
        """Return the number of finished steps."""
        return int(self.metrics[-1]["step"]) if self.metrics else 0

    @property
    def name(self) -> str:
        """Return the name of the run folder."""
        return self.folder.resolve().name

    @property
    def share(self) -> float:
        """Return the share of the run that is over, in [0, 1]."""
        if self.run.optimisation.steps is not None:
            return self.steps / self.run.optimisation.steps
        return float(self.metrics[-1].get("progress", 0.0)) if self.metrics else 0.0

    @property
    def progress(self) -> str:
        """Return how far the run is, in words."""
        settings = self.run.optimisation
        if settings.steps is not None:
            return f"{self.steps:,} of {settings.steps:,} steps"
        return f"{self.steps:,} steps, {self.share:.0%} of {settings.minutes:g} minutes"

    @property
    def slim_steps(self) -> int:
        """Return the number of slimming steps; 0 without slimming, or with a target."""
        slims = self.run.budget.kind is not None or self.run.objective.rho is not None
        settings = self.run.optimisation
        if not slims:
            return 0
        if settings.steps is not None:
            share = settings.slimming(by_rho=self.run.objective.rho is not None)
            return max(1, round(share * settings.steps))
        return max((int(row["step"]) for row in self.metrics if "rho" in row), default=0)


def read_run_data(folder: Path) -> RunData:
    """Read the files of a run folder for a report.

    Raises:
        UserError: no run folder, or settings that cannot be read.
    """
    files = RunFolder(folder)
    run, record = files.read_config()
    channels = (record.get("channels") or {}) if fits(record, shapes.CONFIG) else {"": 0}
    if any(count < 1 for count in channels.values()):
        raise UserError(f"{files.config} is damaged: it names no generator, or no channels by name")
    warnings: list[str] = []
    return RunData(
        folder=folder,
        run=run,
        record=record,
        metrics=_lines(files.metrics, shapes.METRICS, warnings),
        gates=[row for row in _lines(files.gates, shapes.GATES, warnings) if is_histogram(row)],
        held_out=_lines(files.held_out, shapes.HELD_OUT, warnings),
        ranges=_json(files.ranges, shapes.RANGES, warnings) or [],
        layers=_json(files.layers, shapes.LAYERS, warnings) or {},
        summary=without_nothing(_json(files.summary, shapes.SUMMARY, warnings) or {}),
        kept=_channel_map(files.generator, warnings),
        benchmark=_json(files.benchmark, shapes.BENCHMARK, warnings) or {},
        warnings=warnings,
    )


def _lines(file: Path, shape: Shape, warnings: list[str]) -> list[dict[str, Any]]:
    """Return the objects of this shape, one per line, without an incomplete last line."""
    if not file.is_file():
        return []
    rows = [parsed(line) for line in whole_lines(file)]
    found = [without_nothing(row) for row in rows if row is not None and fits(row, shape)]
    if damaged := len(rows) - len(found):
        lines = "1 line is" if damaged == 1 else f"{damaged} lines are"
        warnings.append(f"{lines} damaged in {file.name} and left out.")
    return found


def _json(file: Path, shape: Shape, warnings: list[str]) -> Any:
    """Return the content of a file; None, with a warning, where it has another shape."""
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if fits(content, shape):
        return content
    warnings.append(f"{file.name} is damaged and left out.")
    return None


def _channel_map(file: Path, warnings: list[str]) -> Mapping[str, Sequence[int]] | None:
    if not file.is_file():
        return None
    try:
        return read_header(file)["channel_map"]
    except (UserError, KeyError):
        warnings.append(f"{file.name} cannot be read and is left out.")
        return None
