"""Flags from typed functions, and their values from command lines and YAML."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import typing
from argparse import SUPPRESS, Action
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import docstring_parser
from jsonargparse import (
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)

from gan_slimming.cli.mistakes import mistake_in_one_line
from gan_slimming.cli.old_names import OLD_FLAGS, take_old_names
from gan_slimming.config import PAPER
from gan_slimming.data.plain_yaml import check_yaml, read_text
from gan_slimming.errors import UserError

set_parsing_settings(docstring_parse_attribute_docstrings=True)

SHORT = {
    "rho": "objective.rho",
    "distill": "objective.distill",
    "adversarial": "objective.adversarial",
    "steps": "optimisation.steps",
    "minutes": "optimisation.minutes",
    "batch-size": "optimisation.batch_size",
    "export": "exports",
}
"""Short flag (in YAML with '_') -> the setting it stands for; it overrules the long flag."""
SPELLINGS = {
    "optimization.": "optimisation.", "match-colors": "match-colours", "license": "licence",
}  # fmt: skip
NONE = "none"
"""Value of a number that has a default, and may be left out: --bits none."""
CONFIG = "config"
"""Name of the flag that every command has, and of the parameter that gets its files."""
WHOLE_SPELLINGS = {"class": "target-class"}
"""Other names of whole flags: a Python parameter cannot be called class."""


class HelpFormatter(DefaultHelpFormatter):
    """A formatter that keeps help texts as they are and appends the default, if there is one."""

    def _get_help_string(self, action: Action) -> str:
        text = action.help or ""
        if action.required:
            return f"{text} Required."
        silent = any(action.default is value for value in (None, False, "", SUPPRESS))
        return text if silent else f"{text} Default: {action.default}."

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text


class Parser(ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        text = mistake_in_one_line(message, self)
        raise UserError(f"{text}{'' if text.endswith('?') else ';'} see {self.prog} --help") from ex


def parse(
    command: Callable[..., Any], program: str, arguments: Sequence[str]
) -> tuple[list[Any], dict[str, Any]] | None:
    """Return the arguments of `command` from a command line and its --config.

    Precedence, lowest first: the function's defaults, --preset, --config, flags.

    Returns:
        Positional and keyword arguments; None after help has been printed.
    Raises:
        UserError: a wrong flag, or a value that a group of settings refuses.
    """
    parser = build_parser(command, program)
    arguments = as_declared(arguments, parser)
    files = _checked_configs(arguments)
    try:
        values = parser.parse_args(arguments)
        if values.get("preset") == "paper":
            values = build_parser(command, program, paper=True).parse_args(arguments)
    except SystemExit:
        return None
    take_old_names(values, arguments)
    for short, setting in SHORT.items():
        given = short.replace("-", "_")
        if setting in values and given in values:
            values[setting] = values.pop(given)
    named = _arguments(command, values)
    if CONFIG in inspect.signature(command).parameters:
        named[CONFIG] = files
    positional = [
        named.pop(name)
        for name, parameter in inspect.signature(command).parameters.items()
        if parameter.kind is parameter.POSITIONAL_ONLY
    ]
    return positional, named


def _arguments(made: Callable[..., Any], values: Any, above: str = "") -> dict[str, Any]:
    """Return the arguments of a command, or of a dataclass of settings, from the values of flags.

    The fields of a command's dataclass are flags of their own; a dataclass in there is a group.

    Raises:
        UserError: a file of settings gives a group one value, or a setting none that needs one.
    """
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(made).items():
        if group := _group(hint):
            inside = inspect.isclass(made)
            inner = values[name] if inside else values
            if not isinstance(inner, Namespace):
                raise UserError(f"{name} is a group of settings, one below the other; got {inner}")
            found[name] = group(**_arguments(group, inner, f"{name}." if inside else ""))
        elif name in values:
            value = values[name]
            if value is None and hint is not None and type(None) not in typing.get_args(hint):
                raise UserError(f"{above}{name} has no value; leave it out to get the default")
            value = None if hint == int | None and value == NONE else value
            if _is_names(hint) and value is not None:
                value = tuple(value.split(",")) if value else ()
            found[name] = value
    return found


def _checked_configs(arguments: Sequence[str]) -> list[Path]:
    """Return the files of --config, once they are seen to be small, plain YAML.

    Raises:
        UserError: one is no regular file, too large, damaged, or has aliases.
    """
    found = []
    for place, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if argument == "--":
            break
        if flag == f"--{CONFIG}" and (equals or place + 1 < len(arguments)):
            found.append(Path(value if equals else arguments[place + 1]))
    files = [file for file in found if os.path.lexists(file)]  # it may be YAML itself
    for file in files:
        check_yaml(read_text(file), str(file))
    return files


def kinds_of_flags(command: Callable[..., Any]) -> dict[str, Any]:
    """Return the type of each flag's values, by the names that help shows."""
    short = {field: flag for flag, field in SHORT.items()}
    return {
        "--" + short.get(name, name if "." in name else name.replace("_", "-")): kind
        for name, kind in _kinds(command).items()
    }


def _kinds(command: Callable[..., Any]) -> dict[str, Any]:
    """Return the type of each setting's values, by the names that values have."""
    kinds: dict[str, Any] = {}
    for parameter, _ in _declared(command):
        hint = parameter.annotation
        inner = typing.get_type_hints(_group(hint)) if _group(hint) else {}
        kinds |= {f"{parameter.name}.{field}": kind for field, kind in inner.items()}
        kinds |= {} if inner else {parameter.name: hint}
    return kinds


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings under the names of their flags: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = _flat(value) if isinstance(value, dict) else {}
        flat |= {f"{name}.{k}": v for k, v in inner.items()} if inner else {name: value}
    return flat


def summary_of(command: Callable[..., Any]) -> str:
    """Return the first line of a command's docstring."""
    return (inspect.getdoc(command) or "").partition("\n")[0]


@functools.cache  # it takes half a second
def build_parser(command: Callable[..., Any], program: str, *, paper: bool = False) -> Parser:
    """Make a parser of a typed function: flags from its parameters, help from docstrings.

    Args:
        paper: whether the defaults are those of --preset paper.
    """
    doc = inspect.getdoc(command) or ""
    parameters = inspect.signature(command).parameters.values()
    places = " ".join(
        f"{p.name.upper().removesuffix('S')}{'...' if p.name.endswith('s') else ''}"
        for p in parameters
        if p.kind is p.POSITIONAL_ONLY
    )
    parser = Parser(
        prog=program,
        usage=f"{program} {places}{' ' if places else ''}[flags]",
        description=doc.partition("\nArgs:")[0],
        formatter_class=HelpFormatter,
    )
    text = "YAML file of flags, such as run.yaml, with '_' for '-'. Flags overrule it."
    parser.add_argument("--config", action="config", help=text)
    for parameter, help_text in _declared(command):
        if group := _group(parameter.annotation):
            parser.add_class_arguments(group, parameter.name)
            whole = next(a for a in parser._actions if a.dest == parameter.name)
            whole.help = SUPPRESS  # a whole group as JSON is of no use on a command line
        else:
            _add(parser, parameter, help_text)
    _add_other_names(parser, _kinds(command))
    if paper:
        parser.set_defaults(_flat(PAPER))
    return parser


def _declared(made: Callable[..., Any]) -> list[tuple[inspect.Parameter, str]]:
    """Return what a command takes, with its help: the fields of its dataclasses in their place."""
    found: list[tuple[inspect.Parameter, str]] = []
    texts = {p.arg_name: p.description for p in docstring_parser.parse_from_object(made).params}
    hints = typing.get_type_hints(made)
    for name, parameter in inspect.signature(made).parameters.items():
        group = _group(hints[name])
        if group and not inspect.isclass(made):
            found += _declared(group)
        elif name != CONFIG:
            text = " ".join((texts.get(name) or "").split())
            found.append((parameter.replace(annotation=hints[name]), text))
    return found


def _add(parser: Parser, parameter: inspect.Parameter, text: str) -> None:
    """Add the flag of a parameter, or its position on the command line."""
    default, hint = parameter.default, parameter.annotation
    options: dict[str, Any] = {"help": text, "type": str if _is_names(hint) else hint}
    several = list[str] in (hint, *typing.get_args(hint))
    if several:
        options |= {"nargs": "+", "type": str}
    elif hint == int | None and default is not None:
        options["type"] = int | Literal["none"] | None
    if parameter.kind is parameter.POSITIONAL_ONLY:
        if default is not parameter.empty:
            options |= {"nargs": "*" if several else "?", "default": default}
        parser.add_argument(parameter.name, **options)
        return
    flag = "--" + parameter.name.replace("_", "-")
    if hint is bool:
        parser.add_argument(flag, action="store_true", help=text)
    elif default is parameter.empty:
        parser.add_argument(flag, required=True, **options)
    else:
        default = ",".join(default) if isinstance(default, tuple) else default
        parser.add_argument(flag, default=default, **options)


def _add_other_names(parser: Parser, kinds: Mapping[str, Any]) -> None:
    """Add short flags, whose long ones still work but are not shown, and those of version 0.1."""
    known = {action.dest: action for action in parser._actions}
    for short, name in SHORT.items():
        if name in kinds:
            long, kind = known[name], str if _is_names(kinds[name]) else kinds[name]
            default = "" if long.default in (None, "") else f" Default: {long.default}."
            text = " ".join(f"{long.help}{default}".split())
            parser.add_argument(f"--{short}", type=kind, default=SUPPRESS, help=text)
            long.help = SUPPRESS
    for old, name in OLD_FLAGS.items():
        if name in kinds:
            kind = kinds[name] if "." in name else str
            parser.add_argument(f"--{old}", type=kind, default=SUPPRESS, help=SUPPRESS)


def _group(hint: Any) -> type | None:
    """Return the dataclass of settings that a parameter takes, if it takes one."""
    kinds = [kind for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type)]
    return next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)


def _is_names(hint: Any) -> bool:
    """Return whether a flag takes names between commas."""
    return tuple[str, ...] in (hint, *typing.get_args(hint))


def as_declared(arguments: Iterable[str], parser: Parser) -> list[str]:
    """Return the arguments with flags spelt as declared: '-' for '_', British for American."""
    declared = {flag.replace("_", "-"): flag for flag in parser._option_string_actions}
    aliases = {field.replace("_", "-"): short for short, field in SHORT.items()} | WHOLE_SPELLINGS
    result, ended = [], False
    for argument in arguments:
        ended = ended or argument == "--"
        if argument.startswith("--") and not ended:
            name, equals, value = argument.partition("=")
            stem = name[2:].replace("_", "-")
            for other, ours in SPELLINGS.items():
                stem = stem.replace(other, ours)
            name = declared.get(f"--{aliases.get(stem, stem)}", name)
            argument = f"{name}{equals}{value}"
        result.append(argument)
    return result
