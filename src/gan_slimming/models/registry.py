"""Generators by name: those that come with the package, and any 'package.module:factory'."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract, UserError
from gan_slimming.models import cartoongan, cyclegan
from gan_slimming.models.checkpoints import load_checked, one_line, read_state_dict

StateDict = dict[str, torch.Tensor]


@dataclass(frozen=True)
class GeneratorSpec:
    """All that is needed to build a generator again and to feed it; its `.spec` attribute."""

    name: str
    """A registered name or 'package.module:factory'; build_generator takes it."""
    arguments: dict[str, Any]
    """Arguments of the factory, for registered names all of them."""
    contract: InputContract = field(default_factory=InputContract)
    """What the generator takes and gives."""

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.arguments.items())})"


@dataclass(frozen=True)
class _Entry:
    """One registered generator."""

    description: str
    """One line for a list of names."""
    factory: Callable[..., nn.Module]
    contract: InputContract
    adapt: Callable[[StateDict], StateDict]
    """A published state dict to the module's names and shapes; leaves its own names alone."""
    infer: Callable[[StateDict], dict[str, Any]]
    """Arguments that can be read off an adapted state dict."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """Arguments that the name stands for; a checkpoint cannot overrule them."""


_GENERATORS = {
    "cartoongan": _Entry(
        "CartoonGAN (Chen et al. 2018), photo to cartoon",
        cartoongan.CartoonGenerator,
        cartoongan.CONTRACT,
        cartoongan.from_released,
        cartoongan.infer_arguments,
    ),
    "cyclegan": _Entry(
        "CycleGAN (Zhu et al. 2017), ResNet generator, 9 blocks unless the weights say otherwise",
        cyclegan.ResnetGenerator,
        cyclegan.CONTRACT,
        cyclegan.from_official,
        cyclegan.infer_arguments,
    ),
    "cyclegan-6": _Entry(
        "CycleGAN (Zhu et al. 2017), ResNet generator, 6 blocks",
        cyclegan.ResnetGenerator,
        cyclegan.CONTRACT,
        cyclegan.from_official,
        cyclegan.infer_arguments,
        fixed={"blocks": 6},
    ),
}


def registered() -> list[str]:
    """The names that build_generator and load_generator know, in alphabetical order."""
    return sorted(_GENERATORS)


def describe(name: str) -> str:
    """One line on a registered generator."""
    return _entry(name).description


def build_generator(name: str, **arguments: Any) -> nn.Module:
    """A generator with fresh weights and a `.spec`.

    Args:
        name: a registered name, or 'package.module:factory'. The latter is imported, also from
            the current folder, and factory(**arguments) called; it returns any nn.Module, whose
            attribute `contract`, an InputContract, says what it takes if not RGB in [-1, 1].
        arguments: of the factory, such as width=32.

    Raises:
        UserError: an unknown name or argument, or a factory that fails.
    """
    if ":" in name:
        module = _call_factory(name, arguments)
        spec = GeneratorSpec(name, dict(arguments), _contract_of(module, name))
    else:
        entry = _entry(name)
        resolved = _resolve(name, entry, arguments)
        try:
            module = entry.factory(**resolved)
        except (TypeError, ValueError, RuntimeError) as error:
            text = GeneratorSpec(name, resolved)
            raise UserError(f"{text} cannot be built: {one_line(error)}") from error
        spec = GeneratorSpec(name, resolved, entry.contract)
    module.__dict__["spec"] = spec  # nn.Module types its attributes as tensors and modules
    return module


def load_generator(name: str, weights: str | Path | None = None, **arguments: Any) -> nn.Module:
    """A generator in eval mode and float32, with a `.spec`.

    Args:
        name: as for build_generator.
        weights: a .pth or .safetensors file, of any floating-point precision; None keeps the
            fresh weights. For registered names, arguments that are not given are read off it.
        arguments: of the factory.

    Raises:
        UserError: as build_generator and read_state_dict; the weights do not fit.
    """
    if weights is None:
        return build_generator(name, **arguments).float().eval()
    state = read_state_dict(weights)
    if ":" not in name:
        entry = _entry(name)
        state = entry.adapt(state)
        arguments = entry.infer(state) | entry.fixed | arguments
    module = build_generator(name, **arguments).float()
    load_checked(module, state, expected=str(spec_of(module)), source=f"weights file {weights}")
    return module.eval()


def spec_of(module: nn.Module) -> GeneratorSpec:
    """The module's `.spec`; for one that was not built here, its class and its `.contract`."""
    spec = getattr(module, "spec", None)
    if isinstance(spec, GeneratorSpec):
        return spec
    name = f"{type(module).__module__}:{type(module).__qualname__}"
    return GeneratorSpec(name, {}, _contract_of(module, name))


def _entry(name: str) -> _Entry:
    if name not in _GENERATORS:
        raise UserError(
            f"no generator is called {name!r}; take one of {', '.join(registered())}, "
            "or your own as package.module:factory"
        )
    return _GENERATORS[name]


def _resolve(name: str, entry: _Entry, arguments: dict[str, Any]) -> dict[str, Any]:
    """All arguments of a registered factory: given, fixed by the name, or its defaults."""
    parameters = inspect.signature(entry.factory).parameters
    if unknown := sorted(set(arguments) - set(parameters)):
        raise UserError(
            f"{name} has no argument {', '.join(unknown)}; it takes {', '.join(parameters)}"
        )
    for key, value in entry.fixed.items():
        if arguments.get(key, value) != value:
            raise UserError(f"{name} has {key}={value}, got {key}={arguments[key]}; leave it out")
    defaults = {key: parameter.default for key, parameter in parameters.items()}
    return defaults | entry.fixed | arguments


def _call_factory(name: str, arguments: dict[str, Any]) -> nn.Module:
    """The module that the user's own 'package.module:factory' returns for the arguments."""
    place, _, attribute = name.partition(":")
    if not place or not attribute:
        raise UserError(f"a generator of your own is named package.module:factory, got {name!r}")
    if place in _GENERATORS:
        raise UserError(f"{name!r} names weights as well; give {place} and {attribute} apart")
    with _current_folder_importable():
        try:
            factory: Any = importlib.import_module(place)
            for part in attribute.split("."):
                factory = getattr(factory, part)
            module = factory(**arguments)
        except UserError:
            raise
        except Exception as error:  # whatever the user's code raises is theirs to mend
            raise UserError(
                f"generator {name} failed with {type(error).__name__}: {one_line(error)}"
            ) from error
    if not isinstance(module, nn.Module):
        raise UserError(
            f"generator {name} must return a torch.nn.Module, got {type(module).__name__}"
        )
    return module


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Let a console script import from the current folder, as `python -m` does, but last."""
    folder = str(Path.cwd())
    if folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _contract_of(module: nn.Module, name: str) -> InputContract:
    contract = getattr(module, "contract", InputContract())
    if not isinstance(contract, InputContract):
        raise UserError(
            f"generator {name} has a contract of type {type(contract).__name__}; "
            "make it a gan_slimming.config.InputContract"
        )
    return contract
