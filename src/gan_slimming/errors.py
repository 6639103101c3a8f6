"""What a user is told: mistakes that can be mended, and runs that were stopped."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


class UserError(Exception):
    """A mistake that the user can mend, in one line: what is wrong, what came, what to do."""


class Interrupted(Exception):
    """Ctrl-C ended the run; it is saved, and the text says how to resume it."""


def one_line(error: BaseException) -> str:
    """Return an error's text without line breaks, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


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
