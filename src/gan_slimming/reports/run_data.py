"""What a run folder holds, read for a report: whatever is missing or damaged is left out.

Only config.yaml has to be there. Runs of earlier versions wrote less; a run under way has no
summary and may be in the middle of a line.
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
    """A run, as far as it has come."""

    folder: Path
    """The run folder."""
    run: Run
    """Its settings."""
    record: Mapping[str, Any]
    """All of config.yaml: generator, data, channels, environment."""
    metrics: Sequence[Mapping[str, Any]]
    """Lines of metrics.jsonl: one a step."""
    gates: Sequence[Mapping[str, Any]]
    """Lines of gates.jsonl: now and then while slimming."""
    held_out: Sequence[Mapping[str, Any]]
    """Lines of held_out.jsonl: one a held-out image."""
    ranges: Sequence[Mapping[str, Any]]
    """Ranges of each quantised layer."""
    layers: Mapping[str, Any]
    """'teacher' and 'student' -> the cost of each layer."""
    summary: Mapping[str, Any]
    """summary.json; empty while the run is under way."""
    kept: Mapping[str, Sequence[int]] | None
    """Channel group -> the teacher's channels that are left; None before the end."""
    benchmark: Mapping[str, Any]
    """What `benchmark` printed, where somebody saved it as benchmark.json."""
    warnings: Sequence[str]
    """What could not be read, for the reader of the page."""

    @property
    def steps(self) -> int:
        """Return how many steps are done."""
        return int(self.metrics[-1]["step"]) if self.metrics else 0

    @property
    def name(self) -> str:
        """Return what the run is called: its folder's name."""
        return self.folder.resolve().name

    @property
    def slim_steps(self) -> int:
        """Return the number of steps of the first stage; 0 where nothing is slimmed."""
        slims = self.run.budget.kind is not None or self.run.objective.rho is not None
        settings = self.run.optimisation
        return max(1, round(settings.slim_share * settings.steps)) if slims else 0


def read_run_data(folder: Path) -> RunData:
    """Read everything that a report shows.

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
    """Objects with these keys, one a line; a last line without its end is still being written."""
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
    """Whether it is an object with these keys, of these types; int stands for any number."""
    if not isinstance(content, dict):
        return False
    kinds = {key: (int, float) if kind is int else kind for key, kind in keys.items()}
    return all(isinstance(content.get(key), kind) for key, kind in kinds.items())


def _is_ranges(content: list[Any]) -> bool:
    """Whether these are rows as ranges.json has them."""
    names = {field.name for field in fields(LayerRange)}
    keys = dict.fromkeys(names - {"weight_bits"}, int) | {"layer": str}
    return all(_has(row, keys) and names <= row.keys() for row in content)


def _is_layers(content: dict[str, Any]) -> bool:
    """Whether these are the costs of layers as layers.json has them."""
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
