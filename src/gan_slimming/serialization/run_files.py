"""The files of a run: settings, metrics, checkpoints, samples, generator, summary, report."""

from __future__ import annotations

import os
import re
from pathlib import Path

from gan_slimming.config import EXPORTS
from gan_slimming.data.files import DRAFT
from gan_slimming.serialization.logs import parsed
from gan_slimming.serialization.run_lock import RunLock

GENERATOR = "generator.safetensors"
MARKER = ".gan-slimming-run"
"""File that only this package writes, by which it knows a folder as its own."""
SAMPLE = re.compile(r"(\d{2,}_(input_)?teacher_student|step_\d{7,})\.png")
"""Names of the images in samples/."""


class RunFiles:
    """The names of a run's files, which are defined here only, and what their presence says.

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

    def is_used(self) -> bool:
        """Return whether the folder holds more than a run that has only just begun."""
        begun = (self.lock.path, self.marker)
        return any(path not in begun for path in self.path.iterdir())

    @property
    def is_unfinished(self) -> bool:
        """Return whether there is a run here that can go on."""
        return self.config.is_file() and self.checkpoint.is_file() and not self.finished

    def known(self) -> list[Path]:
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
