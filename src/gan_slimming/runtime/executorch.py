"""Files for ExecuTorch (.pte), run by its own runtime."""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_slimming.runtime.foreign import Port
from gan_slimming.runtime.started import KEY, Loaded, Started

FORWARD = "forward"
"""Name of the method that computes."""
_DTYPES = {6: np.dtype(np.float32), 4: np.dtype(np.int64)}
"""ExecuTorch's number of a type -> NumPy's, for the inputs of generators."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what ExecuTorch and torch say about their own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def start_executorch(
    source: Path | bytes, threads: int, *, precision: str = "f32", profile: bool = False
) -> Started:
    """Load a file's path or its content in ExecuTorch, which times no layers."""
    program = load_program(source, threads)
    return Started(
        lambda *inputs: program.run(*inputs)[0], program.native, program.metadata,
        ports=program.ports,
    )  # fmt: skip


def load_program(source: Path | bytes, threads: int) -> Loaded:
    """Load a file's path or its content.

    Args:
        threads: of the whole process, because ExecuTorch has one pool.
    Raises:
        RuntimeError: it is no program, or needs an operator or backend that the runtime lacks.
    """
    with quiet():
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

    if portable_lib._threadpool_get_thread_count() != threads:
        portable_lib._unsafe_reset_threadpool(threads)
    program = Runtime.get().load_program(source)
    method = program.load_method(FORWARD)
    if method is None:
        raise RuntimeError(f"it has no method {FORWARD}")
    metadata = ""  # a method of its own returns it, as bytes
    if KEY in program.method_names:
        told: Any = program.load_method(KEY)
        metadata = bytes(told.execute([])[0].numpy()).decode()
    about = method.metadata
    described = [about.input_tensor_meta(n) for n in range(about.num_inputs())]
    ports = tuple(
        Port(f"input_{n}", tuple(meta.sizes()), _DTYPES.get(meta.dtype(), np.dtype(np.float32)))
        for n, meta in enumerate(described)
    )

    def run(*inputs: np.ndarray) -> list[np.ndarray]:
        made = method.execute([torch.from_numpy(x) for x in inputs])
        return [value.numpy().copy() for value in made]

    # The method reads its weights from the program, which has to live as long.
    return Loaded(run, (program, method), metadata, ports)


def operator_names() -> frozenset[str]:
    """Return the operators that the runtime has outside its backends, such as aten::add."""
    from executorch.runtime import Runtime

    return frozenset(n.split(".")[0] for n in Runtime.get().operator_registry.operator_names)
