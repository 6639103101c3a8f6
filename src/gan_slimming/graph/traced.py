"""The torch.export graph of a module, with its modules and tensors by name.

A module or tensor that is used in several places goes by the first of its names.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from gan_slimming.errors import UserError
from gan_slimming.graph.contexts import TracedWrites, inline_contexts, keeping_features
from gan_slimming.graph.nodes import module_path

GATEABLE: tuple[type[nn.Module], ...] = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.GroupNorm, nn.LayerNorm),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
"""Layer types that can carry one gate for the whole layer. Only exact types count, because a
subclass may compute something else. Subclasses have gates on their parameters, like other
modules."""
WHOLE = (nn.MultiheadAttention, nn.Transformer, nn.TransformerEncoderLayer, nn.RNNBase)
"""Modules of torch whose channels all stay, because they cannot be followed inside."""
OPERATOR = "operator:"
"""Prefix of a --protect pattern that names an operator instead of a module."""


class TracedModule:
    """A traced module: its graph, its tensors and its module paths.

    Attributes:
        tensors: placeholder -> name of its parameter or buffer; `state` has every tensor by all
            names.
        constants: placeholders of tensors that the forward itself creates.
        saved: names of the parameters and buffers in the state_dict.
        paths: every path of every module -> the first path of the same module.
        owners: path -> ids of the module's own parameters.
        stops_gradients: whether the forward has a block of torch.no_grad.
        strangers: layers whose parameters are also read elsewhere, past any gate on the layer.
    """

    def __init__(self, module: nn.Module, example: tuple[Any, ...], protect: Sequence[str]):
        self.module = module
        self.patterns = protect
        program = _exported(module, example)
        self.stops_gradients = inline_contexts(program.graph_module)
        self.graph: fx.Graph = program.graph
        self.order = {node: place for place, node in enumerate(self.graph.nodes)}
        self.paths = _first_paths(module)
        self._name_tensors(program)
        self._find_strangers()

    def path(self, node: fx.Node) -> str:
        """Return the first path of the module around a call; a shared module has several."""
        return self.paths.get(module_path(node), module_path(node))

    def protected(self, name: str, path: str) -> bool:
        """Return whether a pattern names this operator, this module or a module around it."""
        parts = path.split(".")
        above = [".".join(parts[: depth + 1]) for depth in range(len(parts))] if path else [""]
        return any(
            fnmatch.fnmatch(OPERATOR + name, pattern)
            if pattern.startswith(OPERATOR)
            else any(fnmatch.fnmatch(place, pattern) for place in above)
            for pattern in self.patterns
        )

    def kept_whole(self, path: str) -> str:
        """Return the type name of the enclosing module that is kept whole, '' for none."""
        parts = path.split(".") if path else []
        for depth in range(len(parts)):
            layer = self.module.get_submodule(".".join(parts[: depth + 1]))
            if isinstance(layer, WHOLE):
                return type(layer).__name__
        return ""

    def _name_tensors(self, program: torch.export.ExportedProgram) -> None:
        signature = program.graph_signature
        named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        first: dict[int, str] = {}
        self.state: dict[str, Tensor] = {}
        for name, tensor in _all_tensors(self.module):
            first.setdefault(id(tensor), name)
            self.state[name] = tensor
        self.tensors = {key: first[id(self.state[name])] for key, name in named.items()}
        self.constants = set(getattr(signature, "inputs_to_lifted_tensor_constants", {}))
        self.saved = set(self.module.state_dict())

    def tensor_of(self, node: fx.Node) -> Tensor | None:
        return self.state[self.tensors[node.name]] if node.name in self.tensors else None

    def _find_strangers(self) -> None:
        """Find the layers whose parameters are also read elsewhere, past any gate on the layer."""
        self.owners = {
            path: {id(p) for p in self.module.get_submodule(path)._parameters.values()}
            for path in sorted(set(self.paths.values()))
        }
        self.strangers: set[str] = set()
        for node in self.graph.nodes:
            tensor = self.tensor_of(node) if node.op == "placeholder" else None
            if tensor is None:
                continue
            holders = [path for path, own in self.owners.items() if id(tensor) in own]
            if any(self.path(user) not in holders for user in node.users if user.op != "output"):
                self.strangers |= set(holders)


def _exported(module: nn.Module, example: tuple[Any, ...]) -> torch.export.ExportedProgram:
    try:
        with TracedWrites(), keeping_features(module):
            return torch.export.export(module, example, strict=False)
    except Exception as error:  # torch.export raises many types; to a user all mean the same
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the generator's graph cannot be traced (torch.export: {first})"
        ) from error


def _first_paths(module: nn.Module) -> dict[str, str]:
    """Map every path of every module to the first path of the same module."""
    first: dict[int, str] = {}
    found = {}
    for path, child in module.named_modules(remove_duplicate=False):
        found[path] = first.setdefault(id(child), path)
    return found


def _all_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)
