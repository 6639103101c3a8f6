"""The progress of training on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

OnStep = Callable[[int, int, dict[str, float]], None]
OnBytes = Callable[[int, int | None], None]


@contextmanager
def step_bar(console: Console | None = None) -> Iterator[OnStep]:
    """Show steps, loss terms and the time left in a bar on stderr, if stderr is a terminal.

    Yields:
        A function to call after every step with (step, steps, terms).
    """
    console = console or Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[terms]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, terms="")

        def on_step(step: int, steps: int, terms: dict[str, float]) -> None:
            shown = " ".join(f"{name} {value:.3g}" for name, value in terms.items())
            progress.update(task, completed=step, total=steps, terms=shown)

        yield on_step


@contextmanager
def byte_bar(name: str) -> Iterator[OnBytes]:
    """Show the bytes of a download in a bar on stderr, if stderr is a terminal.

    Yields:
        A function to call with the bytes received, and the bytes of the whole or None.
    """
    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    quiet = not console.is_terminal
    with Progress(*columns, console=console, disable=quiet, transient=True) as progress:
        task = progress.add_task("", total=None, visible=False)

        def on_bytes(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total, visible=done != total)

        yield on_bytes
