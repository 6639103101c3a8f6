"""The run folder: settings, metrics, checkpoint, samples, generator, summary, report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from gan_slimming.config import Run
from gan_slimming.data.files import draft_of, write_atomically
from gan_slimming.errors import UserError

GENERATOR = "generator.safetensors"


class RunFolder:
    """The files of one run, whose names are defined here only.

    Args:
        path: the folder, which need not exist.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoint = self.path / "checkpoints" / "last.pt"
        self.gates = self.path / "gates.jsonl"
        self.samples = self.path / "samples"
        self.held_out = self.path / "held_out.jsonl"
        self.ranges = self.path / "ranges.json"
        self.layers = self.path / "layers.json"
        self.generator = self.path / GENERATOR
        self.summary = self.path / "summary.json"
        self.report = self.path / "report.html"
        self.benchmark = self.path / "benchmark.json"
        """Where the JSON of `benchmark` is looked for; nothing writes it by itself."""

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    # -- beginning ---------------------------------------------------------------------------------

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse an unsuitable folder before any slow work.

        Raises:
            UserError: the folder exists without resume or overwrite, is no run folder, is finished,
                or holds no checkpoint.
        """
        if resume:
            if not self.config.is_file():
                raise UserError(f"{self} is no run folder: it has no {self.config.name}")
            if self.summary.is_file():
                raise UserError(f"{self} is finished, there is nothing to resume; start a new run")
            if not self.checkpoint.is_file():
                raise UserError(
                    f"{self} holds no checkpoint to resume from; start without --resume"
                )
        elif self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self} is a file; name another --output")
        elif self.path.exists() and any(self.path.iterdir()):
            if not overwrite:
                raise UserError(
                    f"{self} exists and is not empty; name another --output, go on with --resume, "
                    "or replace it with --overwrite"
                )
            if not self.config.is_file():
                raise UserError(f"{self} is not a run folder, so it is not overwritten")

    def make(self, *, overwrite: bool) -> None:
        """Create the folder, empty.

        Raises:
            UserError: as `check`, or the folder cannot be created.
        """
        self.check(resume=False, overwrite=overwrite)
        if overwrite and self.path.exists():
            shutil.rmtree(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UserError(
                f"cannot make the folder {self} ({reason}); name another --output"
            ) from (error)

    # -- settings ----------------------------------------------------------------------------------

    def write_config(self, record: Mapping[str, Any]) -> None:
        """Write the resolved settings and everything stored beside them, as YAML."""
        text = yaml.safe_dump(_plain(record), sort_keys=False)
        write_atomically(self.config, text.encode())

    def read_config(self) -> tuple[Run, dict[str, Any]]:
        """Return the settings, and the whole record around them.

        Raises:
            UserError: no run folder, or a damaged file.
        """
        if not self.config.is_file():
            raise UserError(f"{self} is no run folder: it has no {self.config.name}")
        record = yaml.safe_load(self.config.read_text())
        return Run.from_record(record["run"]), record

    # -- what training writes ----------------------------------------------------------------------

    def append_metrics(self, terms: Mapping[str, float]) -> None:
        """Append the terms of one step to metrics.jsonl, floats to six digits."""
        short = {k: v if isinstance(v, int) else float(f"{v:.6g}") for k, v in terms.items()}
        with self.metrics.open("a") as file:
            file.write(json.dumps(short) + "\n")

    def read_positions(self) -> list[float]:
        """Return the progress after each step of a finished run by the clock; else nothing.

        Raises:
            UserError: the run is not finished, or its record has gaps.
        """
        run, _ = self.read_config()
        if not self.summary.is_file():
            raise UserError(f"{self} is not finished, so it cannot be repeated; finish it first")
        if run.optimisation.minutes is None:
            return []
        rows = [json.loads(line) for line in whole_lines(self.metrics)]
        positions = [row.get("progress") for row in rows if row["step"]]
        steps = [row["step"] for row in rows if row["step"]]
        whole = steps == list(range(1, len(steps) + 1)) and None not in positions
        if not whole or not positions or positions[-1] < 1:
            raise UserError(f"{self.metrics} has gaps, so the run cannot be repeated")
        return positions

    def append_gates(self, record: Mapping[str, Any]) -> None:
        """Append a record of the gates to gates.jsonl."""
        with self.gates.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def drop_metrics_after(self, step: int) -> None:
        """Drop the lines of steps after a checkpoint, which are made and logged once more."""
        for log in (self.metrics, self.gates):
            if log.is_file():
                kept = [line for line in whole_lines(log) if json.loads(line)["step"] <= step]
                write_atomically(log, "".join(kept).encode())

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the newest checkpoint, completely or not at all."""
        self.checkpoint.parent.mkdir(exist_ok=True)
        with draft_of(self.checkpoint) as draft:
            torch.save(state, draft)

    def load_checkpoint(self) -> dict[str, Any]:
        """Return the newest checkpoint, which holds only tensors, numbers and texts."""
        return torch.load(self.checkpoint, weights_only=True)

    # -- the end -----------------------------------------------------------------------------------

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, which marks the run as finished."""
        write_atomically(self.summary, (json.dumps(summary, indent=2) + "\n").encode())

    def write_lines(self, file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a file of one JSON object a line."""
        write_atomically(file, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def write_json(self, file: Path, content: Any) -> None:
        """Write a file of one JSON value."""
        write_atomically(file, (json.dumps(content) + "\n").encode())


def whole_lines(file: Path) -> list[str]:
    """Return the lines of a log that have their end; a crash, or a run under way, cuts the last."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
