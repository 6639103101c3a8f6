"""The meaning of MODEL on a command line, and the choice of a device."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_slimming.config import WeightsFile
from gan_slimming.errors import UserError, one_line
from gan_slimming.models import (
    load_generator,
    registered,
    registered_discriminators,
)
from gan_slimming.models.weights.file import WEIGHTS_SUFFIXES
from gan_slimming.models.weights.file_kinds import other_kind
from gan_slimming.serialization.generator_file import load_generator_file
from gan_slimming.serialization.run_folder import GENERATOR, RunFolder
from gan_slimming.serialization.shipped import shipped_file, shipped_names

KINDS = (
    "a run folder, its generator.safetensors, a shipped model (gan-slimming models), NAME:WEIGHTS "
    "(cartoongan:Hayao.pth), package.module:factory[:WEIGHTS], or a registered NAME "
)


NAME = r"[A-Za-z_][\w.]*"
"""Pattern of a dotted Python name."""


class RandomWeightsWarning(UserWarning):
    """The warning that a generator was named without weights."""


def resolve_model(
    model: str | Path,
    weights: str | Path | WeightsFile | None = None,
    device: str | torch.device = "cpu",
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Load the generator that MODEL names, in eval mode on `device`, with a `.spec`.

    Args:
        model: a run folder, a generator.safetensors, the name of a shipped generator,
            NAME:WEIGHTS, package.module:factory with or without :WEIGHTS, or a registered NAME
            alone, which gets random weights and a warning.
        weights: a .pth or .safetensors file for a name, instead of :WEIGHTS; a WeightsFile without
            a path says what to take of :WEIGHTS.
        device: target device.
        factory: package.module:factory of a saved generator that is not registered; a file alone
            never causes an import.
        arguments: arguments of the factory, for a name; a saved generator has its own.

    Raises:
        UserError: there is no such model, or it cannot be loaded.
    """
    text = str(model)
    if (file := model_file(text)) and _is_saved(text):
        if weights is not None:
            path = WeightsFile.of(weights).path
            named = "--weights-key and --rename" if path is None else f"weights {path}"
            raise UserError(f"{text} holds its own weights; leave out {named}")
        if arguments:
            raise UserError(f"{text} knows its own arguments; leave out --generator-args")
        return load_generator_file(file, device, factory=factory)
    name, inline = split_generator(text)
    file = WeightsFile.of(weights)
    if inline and file.path is not None:
        raise UserError(f"{text} names weights already; leave out {weights}")
    file = replace(file, path=inline or file.path)
    if file.path is None and not file.key:
        has = "the weights that its factory gives it" if ":" in name else "random weights"
        warnings.warn(
            f"{text} has {has}: where these are not trained, only its sizes mean something; give "
            f"weights as {name}:WEIGHTS",
            RandomWeightsWarning,
            stacklevel=2,
        )
    return load_generator(name, file, **(arguments or {})).to(device)


def model_file(model: str | Path) -> Path | None:
    """Return the file of MODEL's weights; None where it names no file.

    What lies in the current folder goes before a shipped generator of the same name.

    Raises:
        UserError: a folder without a generator.
    """
    path = Path(model)
    if path.is_dir():
        if path.suffix.lower() == ".mlpackage":
            raise UserError(
                f"{path} is a Core ML package, which runs in apps of Apple's systems alone; give "
                "the run folder that it was exported from"
            )
        file = RunFolder(path).generator
        if not file.is_file():
            hides = str(model) in shipped_names()
            hidden = ", or rename this folder for the shipped model of its name" if hides else ""
            raise UserError(
                f"{path} holds no {file.name}; give a finished run folder, or finish this "
                f"run with --resume{hidden}"
            )
        return file
    if path.is_file():
        return path
    if (shipped := shipped_file(str(model))) is not None:
        return shipped
    inline = split_generator(str(model))[1]
    return Path(inline) if inline else None


def choose_device(name: str) -> torch.device:
    """Return the named device; 'auto' is the first accelerator, else the CPU.

    Raises:
        UserError: the device is unknown, or not in this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        name = "mps" if name == "cpu" and torch.backends.mps.is_available() else name
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device must be auto, cpu, cuda or mps, got {name}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda was asked for, but no CUDA device is here; use --device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device mps was asked for, but this machine has none; use --device cpu")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = one_line(error)[:200]
        raise UserError(f"device {name} cannot be used ({reason}); use --device cpu") from error
    return device


def takes_weights(model: object) -> bool:
    """Return whether MODEL is a name, which weights and arguments complete; not a saved generator.

    Raises:
        UserError: it is a file, but no saved generator.
    """
    return isinstance(model, str | Path) and not _is_saved(str(model))


def _is_saved(text: str) -> bool:
    """Return whether MODEL is a saved generator, or a shipped one; refuse any other file."""
    path = Path(text)
    if not path.exists() and text in shipped_names():
        return True
    if path.is_dir() or (path.suffix.lower() == ".safetensors" and path.is_file()):
        return True
    if not path.is_file():
        return False
    if path.suffix.lower() in (".onnx", ".xml"):
        hint = f"this is an exported file; give the {GENERATOR} that it was made from"
    elif other := other_kind(path):
        hint = f"this is {other[0]}; {other[1]}"
    else:
        hint = f"for upstream weights name the generator too, such as cartoongan:{path.name}"
    raise UserError(f"MODEL is {KINDS}({', '.join(registered())}), got {text}; {hint}")


def split_generator(text: str) -> tuple[str, str | None]:
    """Split a MODEL that is no file into name or package.module:factory, and weights or None.

    Raises:
        UserError: the text names nothing, or looks like a path without a file.
    """
    head, colon, rest = text.partition(":")
    if head in registered():
        if colon and not rest:
            raise UserError(f"{text} names no weights after the colon; write {head}:WEIGHTS")
        return head, rest or None
    drive = re.match(r"[A-Za-z]:[\\/]", text)
    if colon and not drive and re.fullmatch(NAME, head):
        if (own := _own_factory(head, rest)) is not None:
            return own
        raise UserError(f"no generator is called {head!r}; take one of {', '.join(registered())}")
    reason = "no such file or folder" if drive or re.search(r"[\\/.]", text) else "no such model"
    near = difflib.get_close_matches(text, shipped_names(), n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"{reason}: {text}; {hint}MODEL is {KINDS}({', '.join(registered())})")


def split_discriminator(text: str) -> tuple[str, str | None]:
    """Split a discriminator into name or package.module:factory, and weights or None.

    Raises:
        UserError: it is neither.
    """
    head, colon, rest = text.partition(":")
    names = registered_discriminators()
    if head in names:
        if colon and not rest:
            raise UserError(f"{text} names no weights after the colon; write {head}:WEIGHTS")
        return head, rest or None
    own = _own_factory(head, rest) if colon and re.fullmatch(NAME, head) else None
    if own is None:
        raise UserError(
            f"no discriminator is called {text!r}; take {', '.join(names)}, each with or without "
            ":WEIGHTS, or your own as package.module:factory"
        )
    return own


def _own_factory(place: str, rest: str) -> tuple[str, str | None] | None:
    """Return (package.module:factory, weights or None); None if `rest` begins with no name."""
    factory, _, weights = rest.partition(":")
    if not re.fullmatch(NAME, factory) or factory.endswith(WEIGHTS_SUFFIXES):
        return None
    return f"{place}:{factory}", weights or None
