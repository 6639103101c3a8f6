"""The run folder in a process that leaves the writing to the first one of its run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gan_slimming.data.ranks.launch import is_first
from gan_slimming.serialization.run_folder import RunFolder


class FollowerFolder(RunFolder):
    """A run folder that is read and never written; the first process checks and owns it."""

    def check(self, *, resume: bool, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
        """Do nothing, as all below."""

    @contextmanager
    def owned(self) -> Iterator[None]:
        yield

    def make(self, *, overwrite: bool, inputs: Iterable[Path] = ()) -> None: ...

    def write_config(self, record: Mapping[str, Any]) -> None: ...

    def write_lines(self, file: Path, rows: Iterable[Mapping[str, Any]]) -> None: ...

    def check_images(self, rows: list[Any]) -> None: ...

    def append_metrics(self, terms: Mapping[str, float]) -> None: ...

    def append_gates(self, record: Mapping[str, Any]) -> None: ...

    def drop_metrics_after(self, step: int) -> None: ...

    def save_checkpoint(self, state: dict[str, Any]) -> None: ...


def run_folder(path: str | Path) -> RunFolder:
    """Return a run's folder as this process may use it."""
    return RunFolder(path) if is_first() else FollowerFolder(path)
