"""Pickles of numpy arrays, read without pickle's power: nothing in them is called or imported."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

MOST_BYTES = 1 << 30
"""Largest pickle that is read."""


class PickleError(ValueError):
    """A pickle that holds more than arrays, texts, numbers, lists and dicts, or is damaged."""


class _Name:
    """Stands for a class or function that a pickle names; it does nothing."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Name):
    """Stands for a numpy array until its bytes are looked at."""


class _Kind(_Name):
    """Stands for a dtype; only its name is kept."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        super().__init__()
        self.name = name


def _array(*_: Any) -> _Array:
    return _Array()


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
}
"""What pickles of arrays name -> what stands for it here."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise PickleError(f"it names {module}.{name}, which no array needs")
        return _ADMITTED[module, name]


def read_plain_pickle(content: bytes) -> Any:
    """Return what a pickle holds: dicts, lists, numbers, texts, bytes, and uint8 arrays.

    Texts of Python 2 become bytes. Arrays are made from their bytes by np.frombuffer; what else a
    pickle names is refused before it could be called.

    Raises:
        PickleError: the pickle holds anything else, is damaged, or is too large.
    """
    if len(content) > MOST_BYTES:
        raise PickleError(f"it has {len(content):,} bytes, {MOST_BYTES:,} at most are read")
    try:
        found = _Reader(BytesIO(content), encoding="bytes").load()
    except PickleError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise PickleError(f"it is no whole pickle ({type(error).__name__})") from error
    return _plain(found)


def _plain(value: Any) -> Any:
    """Return a value with arrays in place of what stands for them, at two levels."""
    if isinstance(value, dict):
        return {_plain(key): _leaf(item) for key, item in value.items()}
    return _leaf(value)


def _leaf(value: Any) -> Any:
    if isinstance(value, _Array):
        return _made(value.state)
    if isinstance(value, _Name) or value in (_array, _Array, _Kind):
        raise PickleError("it holds an object that is no array")
    return value


def _made(state: Any) -> np.ndarray[Any, Any]:
    """Return a uint8 array from the state (version, shape, dtype, Fortran order, bytes)."""
    if not isinstance(state, Sequence) or len(state) != 5:
        raise PickleError("it holds an array without its bytes")
    _, shape, kind, fortran, content = state
    if not isinstance(kind, _Kind) or kind.name not in ("u1", b"u1") or fortran:
        raise PickleError("it holds an array of another kind than uint8 in rows")
    if not isinstance(content, bytes) or not isinstance(shape, tuple):
        raise PickleError("it holds an array without its bytes")
    try:
        return np.frombuffer(content, np.uint8).reshape(shape).copy()
    except (ValueError, TypeError, MemoryError) as error:
        raise PickleError(f"an array of shape {shape} has {len(content):,} bytes") from error
