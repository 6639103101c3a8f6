"""An exported generator in a runtime, called with the generator's inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError, one_line
from gan_slimming.runtime.started import Run


@dataclass(frozen=True)
class RuntimeModel:
    """An exported generator, ready to be called with the generator's inputs.

    Attributes:
        runtime: one of `sessions.ALL_RUNTIMES`.
        threads: CPU threads that it uses.
        contract: of its inputs and images.
        metadata: as export wrote it; empty for files of other tools.
        size_bytes: of the file, its weights included.
        run: the runtime's function.
        native: the runtime's own object, for queries about layers.
        float_layers: quantised layers that this CPU's int8 kernels get wrong, by name; computed in
            float, on the same grids.
    """

    runtime: str
    threads: int
    contract: InputContract
    metadata: dict[str, Any]
    size_bytes: int
    run: Run
    native: Any
    float_layers: tuple[str, ...] = ()

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Return images for images in the generator's own convention, or for noise and classes.

        Raises:
            UserError: the runtime refuses these inputs, or the file is damaged inside.
        """
        whole = np.issubdtype
        kinds = (np.int64 if whole(x.dtype, np.integer) else np.float32 for x in inputs)
        try:
            return self.run(*map(np.ascontiguousarray, inputs, kinds))
        except (UserError, MemoryError):
            raise
        except Exception as error:  # of the runtime's own types
            sizes = ", ".join("x".join(map(str, x.shape)) for x in inputs)
            reason = one_line(error)[:200]
            raise UserError(
                f"{self.runtime} cannot run the file on an input of {sizes} ({reason}); try "
                "another size, or export the file again"
            ) from error
