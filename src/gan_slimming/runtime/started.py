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

    def for_any_batch(self) -> Run:
        """Return the file's function; a file of single images gets those of a batch in turn."""
        if not self.ports or self.ports[0].shape[:1] != (1,):
            return self.run

        def run(*inputs: np.ndarray) -> np.ndarray:
            count = len(inputs[0])
            if count == 1:
                return self.run(*inputs)
            rows = ([x[place : place + 1] for x in inputs] for place in range(count))
            return np.concatenate([self.run(*row) for row in rows])

        return run


class Loaded(NamedTuple):
    """A file of one size in a runtime, which may have several outputs."""

    run: Callable[..., list[np.ndarray]]
    native: Any
    metadata: str
    ports: tuple[Port, ...]
