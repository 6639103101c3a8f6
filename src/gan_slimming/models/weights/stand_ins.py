"""Inert stand-ins for objects beside the tensors of a checkpoint.

torch.load(weights_only=True) imports nothing, and calls only what it was given. So an object of any
class can be read as plain data, if a class that does nothing takes the place of its own.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

_KIND = "stand-in for"
"""Key in a stand-in's __dict__: the dotted name of the class that it stands for."""
_DATA_MODULES = (
    *("collections", "copyreg", "datetime", "decimal", "enum", "fractions", "functools"),
    *("pathlib", "random", "re", "typing", "uuid", "zoneinfo"),
)
"""Modules of the standard library whose classes hold data."""
_DATA_CLASSES = (
    *("argparse.Namespace", "logging.getLogger", "types.SimpleNamespace"),
    *("builtins.bool", "builtins.bytes", "builtins.complex", "builtins.dict", "builtins.float"),
    *("builtins.frozenset", "builtins.getattr", "builtins.int", "builtins.list"),
    *("builtins.object", "builtins.range", "builtins.slice", "builtins.str", "builtins.tuple"),
)
_NUMBERS = "biufc"
"""Kinds of numpy.dtype that are numbers: neither objects nor records."""


class CodeFoundError(Exception):
    """A call that a checkpoint asks for, by the dotted name of the function."""


class Array:
    """An array of NumPy in a pickle; its `tensor` is None until its state has come."""

    tensor: torch.Tensor | None = None

    def __setstate__(self, state: Any) -> None:
        """Take (version, shape, dtype, whether columns come first, bytes)."""
        _, shape, dtype, columns_first, content = state
        array = _numbers(content, dtype)
        if array is not None:
            array = array.reshape(shape, order="F" if columns_first else "C")
            self.tensor = torch.from_numpy(np.array(array, order="C"))


class DType:
    """A type of NumPy in a pickle: its code, such as 'f4', and order of bytes."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        """Take (version, order of bytes, ...)."""
        self.order = state[1] if state[1] in ("<", ">") else "="


def stand_in_for(name: str) -> Any:
    """Return the stand-in for a global such as 'package.module.Class'; nothing of that is run.

    An instance is an empty OrderedDict: the reader fills no other mapping, and gives it attributes.
    A call makes one, too. Where it asks for a standard function that does more than hold data, it
    raises CodeFoundError.
    """
    made = _numpy(name) or _container(name) or _inert_class(name)
    made.__module__, _, own = name.rpartition(".")
    made.__qualname__ = made.__name__ = own
    return made


def kind_of(value: Any) -> str | None:
    """Return the dotted name of the class that a value stands for; None for any other value."""
    return value.__dict__.get(_KIND) if type(value) is OrderedDict else None


def _inert_class(name: str) -> type:
    """Return a class whose instances are OrderedDicts that know `name`."""

    class Calls(type):
        def __call__(cls, *_: Any, **__: Any) -> Any:
            if not _holds_data(name):
                raise CodeFoundError(name)
            return cls.__new__(cls)  # pyright: ignore[reportCallIssue]

    class Inert(metaclass=Calls):
        def __new__(cls, *_: Any, **__: Any) -> Any:
            made: OrderedDict[Any, Any] = OrderedDict()
            made.__dict__[_KIND] = name
            return made

    return Inert


def _holds_data(name: str) -> bool:
    """Return whether `name` is a class of data: of a few standard modules, or somebody's own."""
    package = name.partition(".")[0]
    if package in sys.stdlib_module_names:
        return package in _DATA_MODULES or name in _DATA_CLASSES
    return package not in ("torch", "numpy")


def _container(name: str) -> Callable[..., Any] | None:
    """Return a maker of a plain container that the reader can fill; None for other names."""
    if name == "collections.defaultdict":
        return lambda *_: {}
    if name == "collections.deque":
        return lambda items=(), *_: list(items)
    return None


def _numpy(name: str) -> Any:
    """Return the stand-in for a name in pickles of NumPy; None for other names."""
    if name == "numpy.ndarray":
        return type(name, (Array,), {})
    if name == "numpy.dtype":
        return type(name, (DType,), {})
    if name in ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"):
        return lambda kind, *_: kind() if isinstance(kind, type) else None
    if name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"):
        return _scalar
    if name.startswith("numpy.random."):
        return lambda *_: OrderedDict()
    return None


def _scalar(dtype: Any, content: Any = b"") -> Any:
    """Return a number of NumPy as one of Python; None where it is no number."""
    array = _numbers(content, dtype)
    return None if array is None or array.size != 1 else array.item()


def _numbers(content: Any, dtype: Any) -> np.ndarray[Any, Any] | None:
    """Return the numbers in bytes, (count,) in this machine's order; None for other contents."""
    if not isinstance(dtype, DType) or not isinstance(content, bytes):
        return None
    try:
        kind = np.dtype(f"{dtype.order}{dtype.code}")
    except TypeError:
        return None
    if kind.kind not in _NUMBERS:
        return None
    return np.frombuffer(content, kind).astype(kind.newbyteorder("="))
