"""The content of a run folder for a report; missing or damaged parts are left out.

Only config.yaml is required. Runs of earlier versions wrote less. A run under way has no summary,
and its last line may be incomplete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from gan_slimming.config import Run
from gan_slimming.errors import UserError
from gan_slimming.serialization.generator_file import read_header
from gan_slimming.serialization.run_folder import RunFolder, whole_lines
from gan_slimming.student.ranges import LayerRange

GATE_KEYS = {"step": int, "kept": dict, "decades": list, "counts": list}


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
    def slim_steps(self) -> int:
        """Return the number of slimming steps; 0 without slimming."""
        slims = self.run.budget.kind is not None or self.run.objective.rho is not None
        settings = self.run.optimisation
        return max(1, round(settings.slim_share * settings.steps)) if slims else 0


def read_run_data(folder: Path) -> RunData:
    """Read the files of a run folder for a report.

    Raises:
        UserError: no run folder, or settings that cannot be read.
    """
    files = RunFolder(folder)
    run, record = _settings(files)
    warnings: list[str] = []
    return RunData(
        folder=folder,
        run=run,
        record=record,
        metrics=_lines(files.metrics, {"step": int}, warnings),
        gates=_lines(files.gates, GATE_KEYS, warnings),
        held_out=_lines(files.held_out, {"name": str}, warnings),
        ranges=_json(files.ranges, warnings, list, _is_ranges),
        layers=_json(files.layers, warnings, dict, _is_layers),
        summary=_json(files.summary, warnings),
        kept=_channel_map(files.generator, warnings),
        benchmark=_json(files.benchmark, warnings),
        warnings=warnings,
    )


def _settings(folder: RunFolder) -> tuple[Run, dict[str, Any]]:
    try:
        return folder.read_config()
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{folder.config} cannot be read ({type(error).__name__}); it is damaged or of "
            f"another version, so take the run's own copy or run compress again"
        ) from error


def _lines(file: Path, keys: Mapping[str, type], warnings: list[str]) -> list[dict[str, Any]]:
    """Return the objects with these keys, one per line, without an incomplete last line."""
    if not file.is_file():
        return []
    found, damaged = [], 0
    for line in whole_lines(file):
        try:
            content = json.loads(line)
        except ValueError:
            content = None
        if _has(content, keys):
            found.append(content)
        else:
            damaged += 1
    if damaged:
        lines = "1 line is" if damaged == 1 else f"{damaged} lines are"
        warnings.append(f"{lines} damaged in {file.name} and left out.")
    return found


def _json(
    file: Path,
    warnings: list[str],
    kind: type = dict,
    fits: Callable[[Any], bool] = lambda content: True,
) -> Any:
    if not file.is_file():
        return kind()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if isinstance(content, kind) and fits(content):
        return content
    warnings.append(f"{file.name} is damaged and left out.")
    return kind()


def _has(content: Any, keys: Mapping[str, type]) -> bool:
    """Return whether `content` has these keys and types; int stands for any number."""
    if not isinstance(content, dict):
        return False
    kinds = {key: (int, float) if kind is int else kind for key, kind in keys.items()}
    return all(isinstance(content.get(key), kind) for key, kind in kinds.items())


def _is_ranges(content: list[Any]) -> bool:
    """Return whether `content` has the rows of ranges.json."""
    names = {field.name for field in fields(LayerRange)}
    keys = dict.fromkeys(names - {"weight_bits"}, int) | {"layer": str}
    return all(_has(row, keys) and names <= row.keys() for row in content)


def _is_layers(content: dict[str, Any]) -> bool:
    """Return whether `content` has the layer costs of layers.json."""
    keys = {"name": str, "kind": str, "macs": int, "parameters": int}
    sides = (content.get("teacher"), content.get("student"))
    return all(isinstance(side, list) and all(_has(row, keys) for row in side) for side in sides)


def _channel_map(file: Path, warnings: list[str]) -> Mapping[str, Sequence[int]] | None:
    if not file.is_file():
        return None
    try:
        return read_header(file)["channel_map"]
    except (UserError, KeyError):
        warnings.append(f"{file.name} cannot be read and is left out.")
        return None
