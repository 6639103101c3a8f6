"""Generators by name: those of this package, and any 'package.module:factory'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from gan_slimming.config import InputContract, WeightsFile
from gan_slimming.errors import UserError
from gan_slimming.models import (
    adaptive_style,
    cartoongan,
    cyclegan,
    cyclegan_mobile,
    dcgan,
    esrgan,
    fast_style,
    sngan,
    srgan,
    unet,
)
from gan_slimming.models.as_declared import as_declared
from gan_slimming.models.catalogue import Catalogue, text_of
from gan_slimming.models.infer_contract import infer_contract

_GENERATORS = Catalogue(
    "generator",
    cartoongan.ENTRIES
    | cyclegan.ENTRIES
    | cyclegan_mobile.ENTRIES
    | unet.ENTRIES
    | fast_style.ENTRIES
    | adaptive_style.ENTRIES
    | sngan.ENTRIES
    | dcgan.ENTRIES
    | srgan.ENTRIES
    | esrgan.ENTRIES,
)

_ATTACHED_SPEC = "gan_slimming_spec"
"""Attribute for the spec of a module that was not built here, or has another `spec`."""


@dataclass(frozen=True)
class GeneratorSpec:
    """The information to rebuild a generator and prepare its inputs; its `.spec` attribute."""

    name: str
    """A registered name or 'package.module:factory', for build_generator."""
    arguments: dict[str, Any]
    """Arguments of the factory; all of them for a registered name."""
    contract: InputContract = field(default_factory=InputContract)
    """The convention of the generator's inputs and outputs."""

    def __str__(self) -> str:
        return text_of(self.name, self.arguments)


def registered() -> list[str]:
    """Return the names for build_generator and load_generator, in alphabetical order."""
    return _GENERATORS.names()


def describe(name: str) -> str:
    """Return one line on a registered generator."""
    return _GENERATORS.entry(name).description


def build_generator(name: str, /, **arguments: Any) -> nn.Module:
    """Build a generator with fresh weights and a `.spec`.

    Args:
        name: a registered name, or 'package.module:factory'. The latter is imported, also from the
            current folder, and factory(**arguments) may return any nn.Module. Its attribute
            `contract`, an InputContract, describes inputs other than RGB in [-1, 1]. Without one,
            multiples of sides and scale are inferred from trials.
        arguments: arguments of the factory, such as width=32.

    Raises:
        UserError: an unknown name or argument, or a factory that fails.
    """
    return _with_spec(*_GENERATORS.build(name, arguments), name)


def rebuild_generator(spec: GeneratorSpec) -> nn.Module:
    """Build a generator from a known spec, without inferring a contract.

    Raises:
        UserError: as build_generator.
    """
    module, _ = _GENERATORS.build(spec.name, spec.arguments)
    attach_spec(module, spec)
    as_declared(module, spec.contract)
    return module


def load_generator(
    name: str,
    weights: str | Path | WeightsFile | None = None,
    *,
    weights_key: str | None = None,
    rename: Sequence[str] = (),
    **arguments: Any,
) -> nn.Module:
    """Load a generator in eval mode and float32, with a `.spec`.

    A file may hold more than the generator: the state dict that fits is found, averaged weights
    before raw ones. A WeightsWarning says so where there was a choice, or a conversion.

    Args:
        name: as for build_generator.
        weights: a .pth or .safetensors file, of any floating-point precision; None keeps the fresh
            weights. For registered names, missing arguments are inferred from it.
        weights_key: the place of the weights in the file, such as 'G_A', where several fit.
        rename: parts of names in the file and in the generator, such as 'block=conv_block'.
        arguments: arguments of the factory.

    Raises:
        UserError: as build_generator; the file cannot be read, nothing in it fits, or several do.
    """
    file = WeightsFile.of(weights)
    file = replace(file, key=weights_key or file.key, rename=tuple(rename) or file.rename)
    if file.path is not None:
        module = _with_spec(*_GENERATORS.load(name, file, arguments), name)
    elif file.key or file.rename:
        raise UserError(f"{name} has no weights file; give it with --weights, or leave the key")
    else:
        module = build_generator(name, **arguments).float()
    as_declared(module, spec_of(module).contract)
    module.eval()  # a user's own may return nothing
    return module


def _with_spec(module: nn.Module, arguments: dict[str, Any], name: str) -> nn.Module:
    """Attach the spec of a network that was just built, with a declared or inferred contract."""
    contract = _declared_contract(module, name) or infer_contract(module)
    attach_spec(module, GeneratorSpec(name, arguments, contract))
    return module


def attach_spec(module: nn.Module, spec: GeneratorSpec) -> None:
    """Attach a spec to a module: as `.spec`, or under a private name if that is taken."""
    free = isinstance(getattr(module, "spec", spec), GeneratorSpec)
    # nn.Module types its attributes as tensors and modules.
    module.__dict__["spec" if free else _ATTACHED_SPEC] = spec


def spec_of(module: nn.Module) -> GeneratorSpec:
    """Return the module's `.spec`; for one that was not built here, its class and contract.

    Nothing is run: call `infer_spec` first for a module that declares no contract.
    """
    built = getattr(module, "spec", None)
    if isinstance(built, GeneratorSpec):
        return built
    name = f"{type(module).__module__}:{type(module).__qualname__}"
    attached = module.__dict__.get(_ATTACHED_SPEC)
    contract = _declared_contract(module, name) or (attached and attached.contract)
    assert contract is not None, f"the contract of {name} is not known yet; call infer_spec"
    return replace(attached or GeneratorSpec(name, {}), contract=contract)


def infer_spec(module: nn.Module) -> GeneratorSpec:
    """Return the module's spec; infer, once, a contract that the module does not declare.

    The result is attached to the module, for `spec_of`.

    Raises:
        UserError: the module declares a contract that is no InputContract.
    """
    name = f"{type(module).__module__}:{type(module).__qualname__}"
    attached = isinstance(getattr(module, "spec", None), GeneratorSpec)
    known = attached or _ATTACHED_SPEC in module.__dict__
    if not known and _declared_contract(module, name) is None:
        module.__dict__[_ATTACHED_SPEC] = GeneratorSpec(name, {}, infer_contract(module))
    return spec_of(module)


def _declared_contract(module: nn.Module, name: str) -> InputContract | None:
    """Return the module's `contract`; None where that is missing, or a layer or method."""
    contract = getattr(module, "contract", None)
    if contract is None or callable(contract):  # a layer, or a method, of that name
        return None
    if not isinstance(contract, InputContract):
        raise UserError(
            f"generator {name} has a contract of type {type(contract).__name__}; "
            "make it a gan_slimming.InputContract"
        )
    return contract
