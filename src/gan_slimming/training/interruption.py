"""Ctrl-C without loss: a run ends after its step, saved, and says how to go on.

SIGHUP, the end of a terminal, counts as well, except where nohup has set it to be ignored.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gan_slimming.data.ranks.launch import alone


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C, SIGTERM and SIGHUP ask for a stop after the step; a second one stops at once.

    Yields:
        Whether a stop has been asked for.
    """
    asked: list[int] = []

    def ask(number: int, _: object) -> None:
        if asked and alone():  # torchrun passes on what its processes have got already
            raise KeyboardInterrupt
        asked.append(number)

    before = {}
    try:
        for number in _numbers():
            before[number] = signal.signal(number, ask)
    except ValueError:  # not in the main thread: leave signals to whoever runs us
        pass
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _numbers() -> list[signal.Signals]:
    """Return the signals of this system that ask for a stop."""
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)  # not on Windows
    heard = hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([hangup] if hangup is not None and heard else [])]
