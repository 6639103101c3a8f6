"""Files for LiteRT (.tflite), run by its own interpreter with XNNPACK's kernels."""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gan_slimming.runtime.foreign import Port
from gan_slimming.runtime.started import KEY, Loaded, Started

_DELEGATE = "DELEGATE"
"""The interpreter's name of an operator that stands for many, here XNNPACK."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what the interpreter writes to the process's stderr, which no setting does."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def start_litert(
    source: Path | bytes, threads: int, *, precision: str = "f32", profile: bool = False
) -> Started:
    """Load a file's path or its content in LiteRT, which times no layers.

    Files of this package take and give images with channels first, as all formats do here.
    """
    loaded = load_model(source, threads)
    own = bool(loaded.metadata)

    def run(*inputs: np.ndarray) -> np.ndarray:
        if not own:
            return loaded.run(*inputs)[0]
        made = loaded.run(*(channels_last(x) for x in inputs))[0]
        return np.ascontiguousarray(made.transpose(0, 3, 1, 2)) if made.ndim == 4 else made

    return Started(run, loaded.native, loaded.metadata, ports=loaded.ports)


def channels_last(values: np.ndarray) -> np.ndarray:
    """Return values of four axes with the channels last; others as they are."""
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1)) if values.ndim == 4 else values


def load_model(source: Path | bytes, threads: int) -> Loaded:
    """Load a file's path or its content.

    Raises:
        ValueError or RuntimeError: it is no model, or needs an operator that LiteRT lacks.
    """
    content = source if isinstance(source, bytes) else source.read_bytes()
    with quiet():
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def run(*values: np.ndarray) -> list[np.ndarray]:
        for port, value in zip(inputs, values, strict=True):
            interpreter.set_tensor(port["index"], value)
        interpreter.invoke()
        return [interpreter.get_tensor(port["index"]) for port in outputs]

    ports = tuple(
        Port(port["name"], tuple(int(n) for n in port["shape"]), np.dtype(port["dtype"]))
        for port in inputs
    )
    return Loaded(run, interpreter, _metadata(content), ports)


def _metadata(content: bytes) -> str:
    """Return this package's metadata of a file that the interpreter has verified; '' for none."""
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.Model.GetRootAs(content, 0)
    for place in range(model.MetadataLength()):
        entry = model.Metadata(place)
        if entry.Name() == KEY.encode():
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode()
    return ""


def operators_outside(interpreter: Any) -> list[tuple[int, str, int]]:
    """Return the operators that XNNPACK does not compute.

    Returns:
        Place in the file, name, and number of values that it writes.
    """
    nodes = interpreter._get_ops_details()
    own = [node for node in nodes if node["op_name"] != _DELEGATE]
    makers = {int(tensor): place for place, node in enumerate(own) for tensor in node["outputs"]}
    inside: set[int] = set()
    for node in nodes:
        if node["op_name"] != _DELEGATE:
            continue
        given, waiting = {int(t) for t in node["inputs"]}, [int(t) for t in node["outputs"]]
        while waiting:
            place = makers.get(waiting.pop())
            if place is not None and place not in inside:
                inside.add(place)
                sources = (int(t) for t in own[place]["inputs"] if int(t) >= 0)
                waiting += [tensor for tensor in sources if tensor not in given]
    outside = [(place, node) for place, node in enumerate(own) if place not in inside]
    return [(place, node["op_name"], _values(interpreter, node)) for place, node in outside]


def _values(interpreter: Any, node: Any) -> int:
    shapes = [interpreter._get_tensor_details(int(t), 0)["shape"] for t in node["outputs"]]
    return sum(int(np.prod(shape)) for shape in shapes)
