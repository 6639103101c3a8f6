"""Tiny networks of every registered kind, with something to feed them."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.tiny_nets import SHALLOW, example
from torch import Tensor, nn

from gan_slimming.models import build_generator, spec_of

Tiny = Callable[..., tuple[nn.Module, Tensor]]


@pytest.fixture
def tiny() -> Tiny:
    """tiny(name, width=3, ...) -> the generator in evaluation mode, and a batch of two for it.

    Norms have scales, shifts and running statistics that are not the trivial ones.
    """

    def make(name: str, width: int = 3, **arguments: Any) -> tuple[nn.Module, Tensor]:
        module = build_generator(name, width=width, **SHALLOW.get(name, {}) | arguments).eval()
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._NormBase) and layer.weight is not None:
                nn.init.normal_(layer.weight, 1, 0.3)
                nn.init.normal_(layer.bias, 0, 0.3)
            if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
                nn.init.normal_(layer.running_mean, 0, 0.3)
                assert layer.running_var is not None
                nn.init.uniform_(layer.running_var, 0.5, 2)
        return module, example(spec_of(module).contract, 2)

    return make
