"""The command gan-slimming: one JSON object on stdout, all other output on stderr."""

from __future__ import annotations

import contextlib
import difflib
import errno
import io
import json
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gan_slimming.cli.commands import compress, demo
from gan_slimming.cli.evaluate_command import evaluate
from gan_slimming.cli.experiment_command import experiment
from gan_slimming.cli.export_commands import benchmark, export, web
from gan_slimming.cli.hub_commands import models, pull, push
from gan_slimming.cli.model_commands import inspect, report, sample, translate
from gan_slimming.cli.parsing import parse, summary_of
from gan_slimming.cli.sweep_command import arranged, sweep
from gan_slimming.cli.teacher_command import dataset, teacher
from gan_slimming.data.ranks.launch import is_first, rank
from gan_slimming.data.report_files import plain
from gan_slimming.errors import NotWritten, UserError, system_reason

__all__ = ["COMMANDS", "main"]

PROGRAM = "gan-slimming"
COMMANDS: dict[str, Callable[..., Any]] = {
    "compress": compress,
    "inspect": inspect,
    "evaluate": evaluate,
    "export": export,
    "benchmark": benchmark,
    "translate": translate,
    "sample": sample,
    "report": report,
    "sweep": sweep,
    "web": web,
    "experiment": experiment,
    "models": models,
    "push": push,
    "pull": pull,
    "demo": demo,
    "teacher": teacher,
    "dataset": dataset,
}
TRACEBACK = "GAN_SLIMMING_TRACEBACK"
"""The environment variable that, set to 1, prints the traceback of an error."""
PATIENCE = 15.0
"""Seconds that a process waits for the first one of its run to say what ended both."""
OK, BUG, MISTAKE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses."""
SYSTEM = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOTDIR,
)
"""Errors of the disk and of paths, which no program can mend."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0; 1 for a fault of the program; 2 for a mistake of the user, reported in
        one line on stderr; 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    return _status(arguments) if is_first() else _follow(arguments)


def _follow(arguments: list[str]) -> int:
    """Run a command in silence, where another process speaks for the run."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        status = _status(arguments)
    if status not in (OK, INTERRUPTED):
        time.sleep(PATIENCE)  # torchrun ends this process meanwhile, if the first one has spoken
        print(f"process {rank()}: {said.getvalue().splitlines()[-1]}", file=sys.stderr)
    return status


def _status(arguments: list[str]) -> int:
    """Run one command, as `main`."""
    if sys.stderr is None:  # closed by the caller
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        if _answered(arguments):
            return OK
        name = arguments[0]
        with _warnings_in_one_line():
            rest = arranged(arguments[1:]) if name == "sweep" else arguments[1:]
            values = parse(COMMANDS[name], f"{PROGRAM} {name}", rest)
            if values is None:
                return OK
            try:
                with redirect_stdout(sys.stderr):
                    result = COMMANDS[name](*values[0], **values[1])
            except NotWritten as error:
                _print_result(error.result)
                return _fail(f"{error}; the result is on stdout alone", MISTAKE)
        _print_result(result)
    except UserError as error:
        return _fail(str(error), MISTAKE)
    except KeyboardInterrupt as error:
        return _fail(str(error) or "interrupted", INTERRUPTED)
    except (MemoryError, RecursionError) as error:
        return _fail(f"there is not enough memory for this ({error or 'MemoryError'})", MISTAKE)
    except OSError as error:
        if error.errno not in SYSTEM:
            return _bug(error)
        named = f" ({error.filename})" if error.filename else ""
        return _fail(f"{system_reason(error)}{named}; make room, or name another place", MISTAKE)
    except Exception as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            return _fail("there is not enough memory for this; take smaller sizes", MISTAKE)
        if "embedded null" in str(error):
            return _fail("a path holds the character of code 0, which no system takes", MISTAKE)
        return _bug(error)
    return OK


def _bug(error: Exception) -> int:
    """Report a fault of the program."""
    text = f"{type(error).__name__}: {error}"
    return _fail(f"{text}; please report this; run with {TRACEBACK}=1 for the traceback", BUG)


def _print_result(result: Any) -> None:
    """Print the result as JSON; raise UserError where stdout is closed or full."""
    text = json.dumps(plain(result), allow_nan=False)
    if sys.stdout is None:  # closed by the caller, who wants no result
        return
    try:
        print(text, flush=True)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):  # at exit Python flushes it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise UserError(f"the result cannot be written to stdout ({reason})") from error


def _answered(arguments: Sequence[str]) -> bool:
    """Handle a command line without a command: help, the version, and mistakes."""
    first = arguments[0] if arguments else None
    if first in COMMANDS:
        return False
    if first in ("-h", "--help"):
        print(_overview())
        return True
    if first in ("-V", "--version"):
        print(f"{PROGRAM} {_version()}")
        return True
    if first is None:
        raise UserError(f"name a command: {', '.join(COMMANDS)}; see {PROGRAM} --help")
    near = difflib.get_close_matches(first, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"take one of {', '.join(COMMANDS)}"
    raise UserError(f"{PROGRAM} has no command {first!r}; {hint}")


def _overview() -> str:
    rows = "\n".join(f"  {name:<11}{summary_of(command)}" for name, command in COMMANDS.items())
    return (
        f"usage: {PROGRAM} COMMAND [flags]\n\n"
        "Turns a trained image generator into a small one.\n\n"
        f"commands:\n{rows}\n\n"
        f"  {PROGRAM} COMMAND --help    all flags of a command\n"
        f"  {PROGRAM} --version         the version\n\n"
        "Every command prints one JSON object as its last line on stdout; the rest is on stderr."
    )


def _version() -> str:
    try:
        return version(PROGRAM)
    except PackageNotFoundError:
        return "of a source tree that is not installed"


def _fail(text: str, status: int) -> int:
    if os.environ.get(TRACEBACK, "0") not in ("", "0"):
        traceback.print_exc()
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return status


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print warnings and what a run says as 'warning: ...', without lines of source."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("warning: %(message)s"))
    log = logging.getLogger("gan_slimming")
    log.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        log.removeHandler(handler)


class _OneLine(logging.Formatter):
    """Write each record in one line."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(super().format(record).split())
