"""The run folder: settings, metrics, checkpoints, samples, generator, summary, report."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from gan_slimming.config import EXPORTS, Run
from gan_slimming.data.files import DRAFT, write_atomically
from gan_slimming.data.image_list import Row, changes
from gan_slimming.data.plain_yaml import read_yaml
from gan_slimming.errors import UserError
from gan_slimming.serialization.checkpoint_file import (
    RunIdentity,
    read_checkpoint,
    write_checkpoint,
)
from gan_slimming.serialization.logs import Log, parsed, whole_lines
from gan_slimming.serialization.ownership import holds
from gan_slimming.serialization.run_lock import RunLock
from gan_slimming.serialization.run_record import plain, reason_of, settings_of

__all__ = ["GENERATOR", "RunFolder", "whole_lines"]

GENERATOR = "generator.safetensors"
MARKER = ".gan-slimming-run"
"""File that only this package writes, by which it knows a folder as its own."""
SAMPLE = re.compile(r"(\d{2,}_(input_)?teacher_student|step_\d{7,})\.png")
"""Names of the images in samples/."""
_log = logging.getLogger("gan_slimming")


class RunFolder:
    """The files of one run, whose names are defined here only.

    Args:
        path: the folder, which need not exist.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.marker = self.path / MARKER
        self.config = self.path / "config.yaml"
        self.images = self.path / "images.jsonl"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoint = self.path / "checkpoints" / "last.pt"
        self.previous = self.checkpoint.with_name("previous.pt")
        self.refused = self.checkpoint.with_name("refused.pt")
        self.gates = self.path / "gates.jsonl"
        self.samples = self.path / "samples"
        self.held_out = self.path / "held_out.jsonl"
        self.ranges = self.path / "ranges.json"
        self.layers = self.path / "layers.json"
        self.generator = self.path / GENERATOR
        self.exports = {k: self.generator.with_suffix(end) for k, end in EXPORTS.items()}
        self.summary = self.path / "summary.json"
        self.report = self.path / "report.html"
        self.benchmark = self.path / "benchmark.json"
        """Where the JSON of `benchmark` is looked for; nothing writes it by itself."""
        self.lock = RunLock(self.path / ".lock")
        self.identity: RunIdentity | None = None
        """What checkpoints are sealed with, and compared with; None compares nothing."""
        self._logs = {"metrics": Log(self.metrics), "gates": Log(self.gates)}

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    @property
    def marked(self) -> bool:
        """Return whether this package made the folder; versions before the marker did not say."""
        return self.marker.is_file() and not self.marker.is_symlink()

    @property
    def finished(self) -> bool:
        """Return whether the run has ended and its summary is whole."""
        try:
            return self.summary.is_file() and parsed(self.summary.read_text("utf-8")) is not None
        except (OSError, UnicodeDecodeError):
            return False

    # -- beginning ---------------------------------------------------------------------------------

    def check(self, *, resume: bool, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
        """Refuse an unsuitable folder before any slow work.

        Args:
            inputs: files and folders of the user's that overwriting must not touch.
        Raises:
            UserError: the folder exists without resume or overwrite, is of another origin, holds an
                input, is finished, holds no checkpoint, or belongs to a run that is going on.
        """
        self.lock.check(str(self))
        if resume:
            self._check_resume()
        elif self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self} is a file; name another --output")
        elif self.path.exists() and self._is_used():
            self._check_overwrite(overwrite, inputs)

    def _check_resume(self) -> None:
        if not self.config.is_file():
            raise UserError(f"{self} is no run folder: it has no {self.config.name}")
        if self.finished:
            raise UserError(f"{self} is finished, there is nothing to resume; start a new run")
        if not (self.checkpoint.is_file() or self.previous.is_file()):
            way = "with --overwrite" if self.marked else "in another --output"
            raise UserError(
                f"{self} holds no checkpoint to resume from; start without --resume, {way}"
            )

    def _check_overwrite(self, overwrite: bool, inputs: Iterable[Path]) -> None:
        if not overwrite:
            way = ", go on with --resume" if self.is_unfinished else ""
            way += ", or replace it with --overwrite" if self.marked else ""
            raise UserError(f"{self} exists and is not empty; name another --output{way}")
        if not self.marked:
            if self.config.is_file() and self.metrics.is_file():
                raise UserError(
                    f"{self} was made before runs carried {MARKER}, so it is not overwritten; "
                    "rename it, or name another --output"
                )
            raise UserError(
                f"{self} is not a run folder, so it is not overwritten; name another --output"
            )
        links = [path for path in self._known() if path.is_symlink()]
        if links:
            raise UserError(f"{links[0]} is a link, which no run makes; remove it, then try again")
        for path in inputs:
            if holds(self.path, path):
                raise UserError(
                    f"{self} holds {path}, which this run reads, so it is not overwritten; name "
                    "another --output"
                )

    def _is_used(self) -> bool:
        """Return whether the folder holds more than a run that has only just begun."""
        begun = (self.lock.path, self.marker)
        return any(path not in begun for path in self.path.iterdir())

    @property
    def is_unfinished(self) -> bool:
        """Return whether there is a run here that can go on."""
        return self.config.is_file() and self.checkpoint.is_file() and not self.finished

    def _known(self) -> list[Path]:
        """Return the files and folders that a run makes, as far as they exist."""
        files = [
            self.config, self.images, self.metrics, self.gates, self.held_out, self.ranges,
            self.layers, self.generator, self.summary, self.report, self.checkpoint, self.previous,
            self.refused, *self.exports.values(), self.exports["openvino"].with_suffix(".bin"),
        ]  # fmt: skip
        folders = [self.samples, self.checkpoint.parent]
        for folder in (self.path, *folders):
            if folder.is_dir() and not (folder.is_symlink() and folder != self.path):
                files += [path for path in folder.iterdir() if DRAFT.fullmatch(path.name)]
        if self.samples.is_dir() and not self.samples.is_symlink():
            files += [path for path in self.samples.iterdir() if SAMPLE.fullmatch(path.name)]
        return [path for path in (*files, *folders, self.marker) if os.path.lexists(path)]

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Create the folder if it is missing, and be its only run meanwhile.

        Raises:
            UserError: another run has it, or it cannot be created.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(self._remove_if_empty)
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(self.lock.held(str(self)))
            except OSError as error:
                raise self._cannot_make(error) from error
            yield

    def _remove_if_empty(self) -> None:
        with contextlib.suppress(OSError):  # a run that has begun has left files here
            self.path.rmdir()

    def _cannot_make(self, error: OSError) -> UserError:
        reason = error.strerror or type(error).__name__
        return UserError(f"cannot make the folder {self} ({reason}); name another --output")

    def make(self, *, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
        """Remove what an earlier run has made, and mark the folder; other files stay.

        Raises:
            UserError: as `check`, or the folder cannot be written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self} is a file; name another --output")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if used := self._is_used():
                self._check_overwrite(overwrite, inputs)
            for path in self._known() if used else ():
                if path.is_dir():
                    with contextlib.suppress(OSError):  # other files are in it
                        path.rmdir()
                else:
                    path.unlink()
            write_atomically(
                self.marker, b"A run of gan-slimming, which --overwrite may replace.\n"
            )
        except OSError as error:
            raise self._cannot_make(error) from error

    # -- settings ----------------------------------------------------------------------------------

    def write_config(self, record: Mapping[str, Any]) -> None:
        """Write the resolved settings and everything stored beside them, as YAML."""
        text = yaml.safe_dump(plain(record), sort_keys=False)
        write_atomically(self.config, text.encode())

    def read_config(self) -> tuple[Run, dict[str, Any]]:
        """Return the settings, and the whole record around them.

        Raises:
            UserError: no run folder, or a damaged file.
        """
        if not self.config.is_file():
            raise UserError(f"{self} is no run folder: it has no {self.config.name}")
        try:
            record = read_yaml(self.config)
            return settings_of(record), record
        except (KeyError, TypeError, AttributeError, ValueError, UserError) as error:
            raise UserError(
                f"{self.config} cannot be read ({reason_of(error)}); it is damaged or of another "
                "version, so put its copy back or start a new run"
            ) from error

    def write_images(self, rows: Iterable[Row]) -> None:
        """Write the list of the run's images."""
        self.write_lines(self.images, rows)

    def check_images(self, rows: list[Row]) -> None:
        """Raise UserError where images have changed since the run began; older runs have no list.

        Args:
            rows: the images as they are now.
        """
        if not self.images.is_file():
            return
        before = [row for line in whole_lines(self.images) if (row := parsed(line))]
        if any(not {"set", "name", "sha256"} <= row.keys() for row in before):
            raise UserError(f"{self.images} is damaged; remove it to go on with the images at hand")
        if found := changes(before, rows):
            raise UserError(
                f"the images of {self} are not those it began with: {found}; put them back, or "
                "start a new run"
            )

    # -- what training writes ----------------------------------------------------------------------

    def append_metrics(self, terms: Mapping[str, float]) -> None:
        """Append the terms of one step to metrics.jsonl, floats to six digits."""
        short = {k: v if isinstance(v, int) else float(f"{v:.6g}") for k, v in terms.items()}
        self._logs["metrics"].append(short)

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
        self._logs["gates"].append(record)

    def drop_metrics_after(self, step: int) -> None:
        """Drop the lines of steps after a checkpoint, which are made and logged once more."""
        for log in self._logs.values():
            if damaged := log.drop_after(step):
                lines = "1 line was" if damaged == 1 else f"{damaged} lines were"
                _log.warning("%s: %s damaged and left out", log.path, lines)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the newest checkpoint, completely or not at all, and keep the one before.

        Raises:
            OSError: the disk refuses; the checkpoints stay as they are.
        """
        self.checkpoint.parent.mkdir(exist_ok=True)
        write_checkpoint(self.checkpoint, state, self.identity, previous=self.previous)

    def load_older_checkpoint(self) -> dict[str, Any]:
        """Return the checkpoint before the newest one, or else that one."""
        with contextlib.suppress(UserError):
            return read_checkpoint(self.previous, self.identity, sealed=self.marked)
        return self.load_checkpoint()

    def load_checkpoint(self) -> dict[str, Any]:
        """Return the newest checkpoint that is whole and of this run: tensors, numbers, texts.

        Raises:
            UserError: there is none.
        """
        refusal: UserError | None = None
        for file in (self.checkpoint, self.previous):
            if not file.is_file():
                continue
            try:
                state = read_checkpoint(file, self.identity, sealed=self.marked)
            except UserError as error:
                refusal = refusal or error
                continue
            if refusal is not None:
                _log.warning("%s; going on from the one before, of step %s", refusal, state["step"])
                with contextlib.suppress(OSError):  # or the next save would keep it as the previous
                    self.checkpoint.replace(self.refused)
            return state
        reason = str(refusal) if refusal else f"{self} holds no checkpoint"
        way = "start again with --overwrite" if self.marked else "start again in another --output"
        raise UserError(f"{reason}; no other one is left, {way}")

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
