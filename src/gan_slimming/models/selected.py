"""One of several outputs of a generator: its image."""

from __future__ import annotations

from typing import Any

from torch import nn


def select_output(module: nn.Module, output: str) -> None:
    """Let a module return one of its outputs, in place; nothing changes where it does so already.

    Args:
        output: index in a tuple or list, such as '0', or key of a dict; '' for the whole.
    """
    base: Any = type(module)
    if not output or "selected_output" in base.__dict__:
        return

    def forward(layer: nn.Module, *inputs: Any, **named: Any) -> Any:
        made = base.forward(layer, *inputs, **named)
        return made[output] if isinstance(made, dict) else made[int(output)]

    module.__class__ = type(base.__name__, (base,), {
        "__module__": base.__module__, "__qualname__": base.__qualname__, "forward": forward,
        "selected_output": output,
    })  # fmt: skip
