"""The run folder: it is begun, written by one run, and read by those that come later."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from gan_slimming.config import Run
from gan_slimming.data.files import write_atomically
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
from gan_slimming.serialization.run_files import GENERATOR, MARKER, RunFiles
from gan_slimming.serialization.run_record import plain, reason_of, settings_of

__all__ = ["GENERATOR", "MARKER", "RunFolder", "whole_lines"]

_log = logging.getLogger("gan_slimming")


class RunFolder(RunFiles):
    """A run's folder: who may write in it, and what its files say.

    Args:
        path: the folder, which need not exist.
    """

    def __init__(self, path: str | Path):
        super().__init__(path)
        self.identity: RunIdentity | None = None
        """What checkpoints are sealed with, and compared with; None compares nothing."""
        self._logs = {"metrics": Log(self.metrics), "gates": Log(self.gates)}

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
        elif self.path.exists() and self.is_used():
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
        links = [path for path in self.known() if path.is_symlink()]
        if links:
            raise UserError(f"{links[0]} is a link, which no run makes; remove it, then try again")
        for path in inputs:
            if holds(self.path, path):
                raise UserError(
                    f"{self} holds {path}, which this run reads, so it is not overwritten; name "
                    "another --output"
                )

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
            if used := self.is_used():
                self._check_overwrite(overwrite, inputs)
            for path in self.known() if used else ():
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
