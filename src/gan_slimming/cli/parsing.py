"""Flags from typed functions, and their values from command lines and YAML."""

from __future__ import annotations

import dataclasses
import inspect
import os
import typing
from argparse import SUPPRESS, Action
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import docstring_parser
from jsonargparse import ArgumentParser, DefaultHelpFormatter, set_parsing_settings

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
}
"""Short flag (in YAML with '_') -> the setting it stands for; it overrules the long flag."""
SPELLINGS = {
    "optimization.": "optimisation.", "match-colors": "match-colours", "license": "licence",
}  # fmt: skip
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
        silent = any(action.default is value for value in (None, False, SUPPRESS))
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
            parser.set_defaults(_flat(PAPER))
            values = parser.parse_args(arguments)
    except SystemExit:
        return None
    take_old_names(values, arguments)
    parameters, groups = inspect.signature(command).parameters, _groups(command)
    for short, field in SHORT.items():
        given = short.replace("-", "_")
        if field.partition(".")[0] in groups and given in values:
            values[field] = values.pop(given)
    flat = _groups(command, flat=True)
    named = {}
    for name in parameters:
        if name == CONFIG:
            named[name] = files
        elif name in flat:
            fields = dataclasses.fields(flat[name])
            named[name] = flat[name](**{field.name: values[field.name] for field in fields})
        else:
            named[name] = groups[name](**vars(values[name])) if name in groups else values[name]
    positional = [named.pop(name) for name, p in parameters.items() if p.kind is p.POSITIONAL_ONLY]
    return positional, named


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
    kinds: dict[str, Any] = {}
    short = {field: flag for flag, field in SHORT.items()}
    groups = _groups(command)
    for name, hint in typing.get_type_hints(command).items():
        if name not in groups:
            kinds["--" + name.replace("_", "-")] = hint
            continue
        for field, kind in typing.get_type_hints(groups[name]).items():
            kinds["--" + short.get(f"{name}.{field}", f"{name}.{field}")] = kind
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


def build_parser(command: Callable[..., Any], program: str) -> Parser:
    """Make a parser of a typed function: flags from its parameters, help from its docstring."""
    doc = inspect.getdoc(command) or ""
    texts = {p.arg_name: p.description or "" for p in docstring_parser.parse(doc).params}
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
    groups, hints = _groups(command), typing.get_type_hints(command)
    flat = _groups(command, flat=True)
    for parameter in parameters:
        if parameter.name in flat:
            _add_flat(parser, flat[parameter.name])
        elif parameter.name not in groups and parameter.name != CONFIG:
            help_text = " ".join(texts[parameter.name].split())
            _add(parser, parameter, hints[parameter.name], help_text)
    for name, group in groups.items():
        parser.add_class_arguments(group, name)
        _add_short_flags(parser, name, group)
    _add_old_names(parser, groups, [parameter.name for parameter in parameters])
    for action in parser._actions:
        if action.dest in groups:  # a whole group as JSON is of no use on a command line
            action.help = SUPPRESS
    return parser


def _add(parser: Parser, parameter: inspect.Parameter, hint: Any, text: str) -> None:
    """Add the flag of a parameter, or its position on the command line."""
    default: Any = parameter.default
    options: dict[str, Any] = {"help": text}
    several = list[str] in (hint, *typing.get_args(hint))
    if several:
        options |= {"nargs": "+", "type": str}
    elif hint is not bool:
        options["type"] = hint
    if parameter.kind is parameter.POSITIONAL_ONLY:
        if default is not parameter.empty:
            options |= {"nargs": "*" if several else "?", "default": default}
        parser.add_argument(parameter.name, **options)
        return
    flag = "--" + parameter.name.replace("_", "-")
    if hint is bool:
        parser.add_argument(flag, action="store_true", **options)
    elif default is parameter.empty:
        parser.add_argument(flag, required=True, **options)
    else:
        parser.add_argument(flag, default=default, **options)


def _add_flat(parser: Parser, group: type) -> None:
    """Add the fields of a group as flags without a prefix, with help from their docstrings."""
    found = docstring_parser.parse_from_object(group)
    texts = {p.arg_name: p.description or "" for p in found.params}
    hints = typing.get_type_hints(group)
    for field in dataclasses.fields(group):
        parameter = inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default
        )
        _add(parser, parameter, hints[field.name], " ".join(texts[field.name].split()))


def _add_short_flags(parser: Parser, name: str, group: type) -> None:
    """Add short flags for fields of the group; the long ones still work, but are not shown."""
    hints = typing.get_type_hints(group)
    fields = {f"{name}.{field}": hint for field, hint in hints.items()}
    for short, field in SHORT.items():
        if field in fields:
            long = next(action for action in parser._actions if action.dest == field)
            known = "" if long.default is None else f" Default: {long.default}."
            text = " ".join(f"{long.help}{known}".split())
            parser.add_argument(f"--{short}", type=fields[field], default=SUPPRESS, help=text)
            long.help = SUPPRESS


def _add_old_names(parser: Parser, groups: Mapping[str, type], names: Iterable[str]) -> None:
    """Add the flags of version 0.1, which help does not show."""
    for old, new in OLD_FLAGS.items():
        group, _, field = new.partition(".")
        if group in groups:
            kind = typing.get_type_hints(groups[group])[field]
            parser.add_argument(f"--{old}", type=kind, default=SUPPRESS, help=SUPPRESS)
        elif new in names:
            parser.add_argument(f"--{old}", type=str, default=SUPPRESS, help=SUPPRESS)


def _groups(command: Callable[..., Any], flat: bool = False) -> dict[str, type]:
    """Return parameter -> dataclass of settings; with `flat`, only dataclasses without a prefix."""
    found = {}
    for name, hint in typing.get_type_hints(command).items():
        kinds = (hint, *typing.get_args(hint))
        classes = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
        if classes and getattr(classes[0], "flat", False) is flat:
            found[name] = classes[0]
    return found


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
