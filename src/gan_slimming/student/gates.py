"""Gates of a student: the gate vector of a layer, and gates on parameters of any module."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gan_slimming.quantization.affine import along


class LayerGate:
    """The gate vector of one layer, assembled from the gates of its channel groups.

    Not an nn.Module, because the gates belong to the student; a layer only reads them.
    """

    def __init__(self, size: int, parts: list[tuple[nn.Parameter, Tensor, Tensor]]):
        self.size = size
        self.parts = parts

    def __call__(self) -> Tensor:
        """Return the (size,) gates; 1 where a channel has none."""
        first = self.parts[0][0]
        if len(self.parts) == 1 and len(first) == self.size:
            return first[self.parts[0][2].to(first.device)]
        vector = torch.ones(self.size, dtype=first.dtype, device=first.device)
        for gate, positions, channels in self.parts:
            vector = vector.index_put((positions.to(gate.device),), gate[channels.to(gate.device)])
        return vector


def on_cpu(gates: Iterable[Tensor]) -> list[Tensor]:
    """Return copies of gate vectors on the CPU, after one transfer for all of them."""
    vectors = [gate.detach() for gate in gates]
    if not vectors:
        return []
    return list(torch.cat(vectors).cpu().split([len(vector) for vector in vectors]))


def gate_parameter(layer: nn.Module, name: str, axis: int, gate: LayerGate) -> None:
    """Make `layer.<name>` return the parameter times a gate along one axis, in place.

    For modules that compute with parameters of their own. The parameter itself stays for optimisers
    and state_dict; only attribute access returns the product. A second gate on the same axis
    replaces the first.
    """
    gates = layer.__dict__.setdefault("parameter_gates", {})
    gates.setdefault(name, {})[axis] = gate
    base = ungated_type(layer)
    layer.__class__ = type(base.__name__, (base,), {
        "__module__": base.__module__, "_ungated": base, **{n: _product(n) for n in gates}
    })  # fmt: skip


def ungated_type(layer: nn.Module) -> type[nn.Module]:
    """Return the user's own class of a module, without gates on its parameters."""
    return type(layer).__dict__.get("_ungated", type(layer))


def _product(name: str) -> property:
    def read(layer: nn.Module) -> Tensor:
        value = layer._parameters[name]
        assert value is not None
        for axis, gate in layer.__dict__["parameter_gates"].get(name, {}).items():
            value = value * along(gate(), axis, value.dim())
        return value

    return property(read)
