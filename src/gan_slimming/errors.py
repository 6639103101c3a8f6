"""What a user is told: mistakes that can be mended, and runs that were stopped."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


MOST_TEXT = 1500
"""Characters of an error; what came may be longer than anyone reads."""


class UserError(Exception):
    """A mistake that the user can mend, in one line: what is wrong, what came, what to do.

    Args:
        text: what came may have line breaks, and be long; neither is kept.
    """

    def __init__(self, text: str = ""):
        line = " ".join(text.splitlines())
        half = MOST_TEXT // 2
        super().__init__(line if len(line) <= MOST_TEXT else f"{line[:half]} ... {line[-half:]}")


class NotWritten(UserError):
    """A whole result whose file the disk refuses; `result` is what the command returns."""

    def __init__(self, text: str, result: dict[str, Any]):
        super().__init__(text)
        self.result = result


class Interrupted(Exception):
    """Ctrl-C ended the run; it is saved, and the text says how to resume it."""


def one_line(error: BaseException) -> str:
    """Return an error's text without line breaks, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def system_reason(error: OSError) -> str:
    """Return what the system said, such as 'No space left on device'."""
    return error.strerror or one_line(error)[:150]


def renamed(**names: str) -> Callable[[Function], Function]:
    """Let a function take arguments under their old names, with one line of warning.

    Args:
        names: old name -> the name now.
    Raises:
        UserError: by the function itself, where both names of an argument are given.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*positional: Any, **given: Any) -> Any:
            for old in names.keys() & given.keys():
                text = f"{old} is called {names[old]} now; the old name goes in version 1.0"
                warnings.warn(text, FutureWarning, stacklevel=2)
                if names[old] in given:
                    raise UserError(f"{old} and {names[old]} are one; give {names[old]} alone")
                given[names[old]] = given.pop(old)
            return function(*positional, **given)

        return cast(Function, wrapper)

    return decorate
