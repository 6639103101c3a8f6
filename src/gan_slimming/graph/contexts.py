"""Contexts in a generator's forward: no_grad, autocast, checkpoints, and tensors written by .data.

torch.export makes a graph of its own of each context. The arithmetic in it is the same, so it is
copied into the graph around it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

CONTEXTS = frozenset(
    {"wrap_with_set_grad_enabled", "wrap_with_autocast", "tag_activation_checkpoint"}
)
"""Calls of torch.export that hold a graph of their own."""


def inline_contexts(module: fx.GraphModule) -> bool:
    """Copy the graph of every context to where it is called, in place, and drop assertions.

    Returns:
        Whether there was a context that stops gradients.
    """
    stops = False
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        name = str(getattr(node.target, "__name__", node.target))
        if name in CONTEXTS:
            stops |= "grad" in name and node.args[0] is False
            _inline(module, node)
        elif name.startswith("_assert") and not node.users:
            module.graph.erase_node(node)
    module.graph.lint()
    return stops


def _inline(module: fx.GraphModule, call: fx.Node) -> None:
    place = next(a for a in call.args if isinstance(a, fx.Node) and a.op == "get_attr")
    inner = module.get_submodule(str(place.target))
    assert isinstance(inner, fx.GraphModule)
    inline_contexts(inner)
    given = iter(call.args[call.args.index(place) + 1 :])
    copies: dict[fx.Node, Any] = {}
    with module.graph.inserting_before(call):
        for node in inner.graph.nodes:
            if node.op == "placeholder":
                copies[node] = next(given)
            elif node.op != "output":
                if node.op == "get_attr":
                    _adopt(module, inner, node)
                copies[node] = module.graph.node_copy(node, copies.__getitem__)
    results = inner.graph.output_node().args[0]
    found = pytree.tree_map(lambda n: copies.get(n, n) if isinstance(n, fx.Node) else n, results)
    for user in list(call.users):  # each takes one of the results
        user.replace_all_uses_with(found[user.args[1]])  # pyright: ignore
        module.graph.erase_node(user)
    module.graph.erase_node(call)
    if not place.users:
        module.graph.erase_node(place)


def _adopt(module: fx.GraphModule, inner: fx.GraphModule, node: fx.Node) -> None:
    """Give the outer module a tensor or graph that an inner call names, under a free name."""
    value = inner
    for part in str(node.target).split("."):
        value = getattr(value, part)
    free = f"inlined_{len(list(module.named_children())) + len(list(module.named_buffers()))}"
    while hasattr(module, free):
        free += "_"
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        module.register_buffer(free, value)
    else:
        setattr(module, free, value)
    node.target = free


@contextmanager
def keeping_features(module: nn.Module) -> Iterator[None]:
    """Let a forward leave features in attributes while it is traced, and put back what was there.

    A traced feature has no values, and would break the next copy of the module. Modules that the
    forward moves, as by `self.block.to(x.device)`, stay where they are.
    """
    before = [(child, dict(child.__dict__)) for child in module.modules()]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*assigned during export")
        move = nn.Module._apply
        nn.Module._apply = lambda self, fn, recurse=True: self
        try:
            yield
        finally:
            nn.Module._apply = move
            for child, known in before:
                own = {k: v for k, v in child.__dict__.items() if not k.startswith("_")}
                for name in own.keys() - known.keys():
                    del child.__dict__[name]
                child.__dict__.update({name: known[name] for name in own.keys() & known.keys()})


class TracedWrites(TorchFunctionMode):
    """A mode in which torch.export sees tensors that a forward reads and writes by `.data`.

    A tensor written so is replaced by its new value wherever the forward reads it later; the tensor
    itself stays. Hand-written spectral norms keep their vectors in this way.
    """

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == Tensor.data.__set__:  # pyright: ignore
            self._written[id(args[0])] = (args[0], self._now(args[1]))
            return None
        args, kwargs = pytree.tree_map(self._now, (tuple(args), kwargs or {}))
        if func == Tensor.data.__get__:  # pyright: ignore
            return args[0].detach()
        return func(*args, **kwargs)

    def _now(self, value: Any) -> Any:
        found = self._written.get(id(value)) if isinstance(value, Tensor) else None
        return value if found is None else found[1]


class ThroughNoGrad(TorchFunctionMode):
    """A mode in which gradients pass blocks of torch.no_grad, as in a forward of demo code."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled:
            return None
        return func(*args, **(kwargs or {}))


class SharedNoise(TorchFunctionMode):
    """A mode in which each input of a batch draws the same random numbers in every generator.

    Numbers without an axis for the batch are the same for every input.

    Args:
        seeds: one for each input.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__()
        self.seeds = seeds
        self._calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name not in DRAWS or not isinstance(made, Tensor):
            return made
        self._calls += 1
        each = made.dim() > 0 and made.shape[0] == len(self.seeds)
        rows = made if each else made[None]
        with torch._C.DisableTorchFunction(), torch.no_grad():
            shift, spread = _distribution(name, args, kwargs)
            drawn = torch.stack([
                self._draw(name, row.shape, seed)
                for row, seed in zip(rows, self.seeds if each else (0,), strict=True)
            ])  # fmt: skip
            return made.copy_(drawn.view_as(made).to(made) * spread + shift)

    def _draw(self, name: str, shape: torch.Size, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed((seed * 4096 + self._calls) % 2**63)
        return (torch.rand if name in UNIFORM else torch.randn)(shape, generator=generator)


def _distribution(name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return what the numbers of a call are shifted by, after they are multiplied by the second."""
    if name not in BOUNDED:
        return 0.0, 1.0
    given = args[1:] if name.endswith("_") else args
    first, second = (
        given[place] if len(given) > place else kwargs.get(key, default)
        for place, (key, default) in enumerate(BOUNDED[name])
    )
    return (first, second - first) if name in UNIFORM else (first, second)


class WithoutNoise(TorchFunctionMode):
    """A mode in which a forward draws zeros in place of random numbers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        return made.zero_() if name in DRAWS and isinstance(made, Tensor) else made


DRAWS = frozenset(
    "randn rand randn_like rand_like normal normal_ uniform_".split()  # noqa: SIM905
)
"""Functions of torch that draw random numbers, by their names in Python."""
UNIFORM = frozenset({"rand", "rand_like", "uniform_"})
BOUNDED = {
    "normal": (("mean", 0.0), ("std", 1.0)),
    "normal_": (("mean", 0.0), ("std", 1.0)),
    "uniform_": (("from", 0.0), ("to", 1.0)),
}
"""Functions that take a mean and a spread, or limits -> their names and what they are else."""
