"""An exported file in a runtime, as every runtime returns it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gan_slimming.runtime.foreign import Port

KEY = "gan_slimming"
"""Name of the only metadata entry, in every format: JSON with all that a reader needs."""
Run = Callable[..., np.ndarray]
"""Inputs, in the generator's order -> images."""


class Started(NamedTuple):
    """A file in a runtime: its function, the runtime's own object, metadata, and its inputs."""

    run: Run
    native: Any
    metadata: str
    float_layers: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()


class Loaded(NamedTuple):
    """A file of one size in a runtime, which may have several outputs."""

    run: Callable[..., list[np.ndarray]]
    native: Any
    metadata: str
    ports: tuple[Port, ...]
