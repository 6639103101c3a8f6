"""One-line messages from the mistakes that jsonargparse finds."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from jsonargparse import ArgumentParser

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "dict": "a JSON object",
    "tuple": "a list such as [0.5, 0.9]",
}
"""Name of a type in Python -> its name in a message."""


def mistake_in_one_line(message: str, parser: ArgumentParser) -> str:
    """Reduce jsonargparse's message to the mistake, the given value and the expected one."""
    if unknown := re.match(r"unrecognized arguments: (\S+)", message):
        word = unknown[1].partition("=")[0]
        return f"{parser.prog} has no {'flag' if word[0] == '-' else 'place for'} {word}" + (
            _nearest(word, parser._option_string_actions) if word[0] == "-" else ""
        )
    if missing := re.match(r"the following arguments are required: (.*)", message):
        names = (_flag(key, parser) for key in missing[1].split(", "))
        return f"{' and '.join(names)} missing"
    if lone := re.match(r"argument (\S+): expected", message):
        return f"{lone[1]} needs a value"
    if unknown := re.search(r"(?:Option|accept option) '([^']+)'", message):
        keys = [flag[2:] for flag in parser._option_string_actions]
        near = _nearest(unknown[1], [key.replace("-", "_") for key in keys])
        return f"{parser.prog} has no setting {unknown[1]!r}, which --config names{near}"
    if wrong := re.match(r'Parser key "([^"]+)":\s*(.*)', message, re.DOTALL):
        return _wrong_value(wrong[1], wrong[2], parser)
    return " ".join(message.split())


def _wrong_value(key: str, reason: str, parser: ArgumentParser) -> str:
    name = _flag(key, parser)
    value = re.search(r"(?:Got value|Given value): (.*)", reason)
    kinds = re.findall(r"Expected an? <class '(?:\w+\.)*(\w+)'>", reason)
    expected = [str(KINDS.get(kind, kind)) for kind in kinds if kind != "NoneType"]
    for listed in re.findall(r"Expected a typing\.Literal\[(.*?)\]", reason):
        expected += [listed.replace("'", "")]
    if not value or not expected:
        return f"{name}: {' '.join(reason.split())}"
    return f"{name} must be {' or '.join(dict.fromkeys(expected))}; got {value[1]}"


def _flag(key: str, parser: ArgumentParser) -> str:
    """Return a user's name for the setting: its flag, or its position, such as MODEL."""
    flags = [flag for flag, action in parser._option_string_actions.items() if action.dest == key]
    return flags[0] if flags else key.upper()


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
