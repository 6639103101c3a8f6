"""The command sweep: a grid of compress runs from flags with several values."""

from __future__ import annotations

import itertools
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_slimming.cli.commands import compress
from gan_slimming.cli.parsing import as_declared, build_parser, kinds_of_flags, parse
from gan_slimming.config.checks import MOST_THREADS, check_between
from gan_slimming.errors import Interrupted, UserError

OWN = ("--output", "--workers", "--ray")
"""Flags of the sweep itself; all others are those of its runs."""
UNASKED = ("--resume", "--repeat", "--overwrite")
"""Flags of compress that a sweep decides for itself."""
PROGRAM = "gan-slimming sweep"


def sweep(
    flags: list[str], /, *, output: Path, workers: int = 1, ray: str | None = None
) -> list[dict[str, Any]]:
    """Run compress over a grid of flags, and compare all runs on one page.

    For example:
        gan-slimming sweep --generator cartoongan --weights Hayao.pth --data photos/
            --budget.macs 0.02,0.05,0.1 --seed 0,1 --output sweeps/hayao --workers 2

    Flags of numbers and choices take several values between commas; all combinations are run. Each
    run is a folder in --output and a process of its own. A run that fails is tried once more from
    its last checkpoint. The same command goes on with a sweep that was stopped, and runs nothing
    twice. The page is comparison.html; a run's own output is in its .log file.

    Args:
        flags: Flags of compress, in any order with those below; --config FILE among them.
        output: Folder for the runs and the page, such as sweeps/hayao.
        workers: Number of runs at a time on this machine, each with its share of the CPU's cores
            and its own GPU. The threads that decode images are then set in --config.
        ray: Address of a running Ray cluster that takes the runs instead, such as auto or
            ray://head:10001; local starts one on this machine. All its machines must see the same
            folders. Needs gan-slimming[sweep].
    """
    check_between("workers", workers, 1, MOST_THREADS)
    if ray is not None and workers > 1:
        raise UserError("name --workers or --ray, not both: a Ray cluster has workers of its own")
    grid = grid_of(flags)
    for words in grid.values():
        parse(compress, PROGRAM, [*words, "--output", str(output)])
    if len(grid) == 1:
        raise UserError(
            "no flag has several values; write --budget.macs 0.02,0.05, or take compress"
        )
    from gan_slimming.workflows.sweep import sweep as run

    try:
        return run(grid, output, workers=workers, ray=ray, say=_say)
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from error


def arranged(arguments: Sequence[str]) -> list[str]:
    """Return a command line with sweep's own flags first, and those of compress behind '--'."""
    if {"-h", "--help"} & set(arguments):
        return ["--help"]
    own: list[str] = []
    others: list[str] = []
    place = 0
    while place < len(arguments):
        flag, equals, _ = arguments[place].partition("=")
        end = place + (2 if flag in OWN and not equals else 1)
        (own if flag in OWN else others).extend(arguments[place:end])
        place = end
    return [*own, "--", *others] if others else own


def grid_of(flags: Sequence[str]) -> dict[str, list[str]]:
    """Return the flags of every combination by its name, such as macs-0.02_seed-1.

    Raises:
        UserError: a flag is not for a sweep.
    """
    groups: list[list[str]] = []
    for word in as_declared(flags, build_parser(compress, PROGRAM)):
        if word.startswith("--") or not groups:
            groups.append([part for part in word.partition("=") if part not in ("", "=")])
        else:
            groups[-1].append(word)
    kinds = kinds_of_flags(compress)
    grid: dict[str, list[str]] = {}
    for combination in itertools.product(*(_choices(group, kinds) for group in groups)):
        name = "_".join(part for part, _ in combination if part)
        grid[name] = [word for _, words in combination for word in words]
    return grid


def _choices(words: Sequence[str], kinds: Mapping[str, Any]) -> list[tuple[str, Sequence[str]]]:
    """Return the choices that a flag and its values leave: part of a name, and words."""
    flag, *values = words
    if flag in UNASKED:
        raise UserError(f"a sweep goes on by itself; leave out {flag}")
    if len(values) != 1 or "," not in values[0] or not _is_split(kinds.get(flag)):
        return [("", words)]
    short = flag.removeprefix("--").rpartition(".")[2]
    return [(f"{short}-{v}", [flag, v]) for v in dict.fromkeys(values[0].split(","))]


def _is_split(kind: Any) -> bool:
    """Return whether values of this kind are numbers, amounts or choices, which have no commas."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    parts = typing.get_args(kind) if union else (kind,)
    numbers = [p for p in parts if p in (int, float) or typing.get_origin(p) is typing.Literal]
    return bool(numbers) and all(p in (*numbers, str, type(None)) for p in parts)


def _say(text: str) -> None:
    print(f"sweep: {text}", file=sys.stderr)
