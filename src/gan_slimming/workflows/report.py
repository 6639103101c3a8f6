"""report: one run, or several side by side, as one HTML page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan_slimming.errors import UserError
from gan_slimming.reports import comparison, run
from gan_slimming.serialization.run_folder import RunFolder


def report(runs: Sequence[Path], output: Path | None = None) -> dict[str, Any]:
    """Write the page of a run, or of several.

    Args:
        runs: run folders, finished or under way.
        output: the page; by default report.html in the run folder, or comparison.html in the common
            parent folder of several runs.
    Returns:
        For one run: report (path), steps, finished and its summary. For several: report, and runs
        with the same for each.
    Raises:
        UserError: no run folder, a run named twice, or a page that cannot be written.
    """
    if not runs:
        raise UserError("no run to report on; give at least one run folder")
    page = output or _place(runs)
    if page.is_dir():
        raise UserError(f"{page} is a folder; name a file such as {RunFolder(page).report}")
    try:
        return run.report(runs[0], page) if len(runs) == 1 else comparison.compare(runs, page)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"cannot write {page} ({reason}); name another --output") from error


def _place(runs: Sequence[Path]) -> Path:
    if len(runs) == 1:
        return RunFolder(runs[0]).report
    common = Path(os.path.commonpath([folder.resolve().parent for folder in runs]))
    here = Path.cwd()
    return (common.relative_to(here) if common.is_relative_to(here) else common) / comparison.PAGE
