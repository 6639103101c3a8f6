"""Files of torch.save from strangers: nothing in them runs, hangs, or fills the memory."""

from __future__ import annotations

import contextlib
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MOST_DEPTH = 100
"""Levels of dicts and lists in dicts and lists; training scripts need some five."""
MOST_ITEMS = 10_000_000
"""Values in all, each counted wherever it stands."""
CHUNK_BYTES = 1 << 20


class FileDamage(ValueError):
    """A file of torch.save that is cut, changed, or made to do harm; the text says how."""


def load_tensors(path: Path) -> Any:
    """Return the content of a file of torch.save, on the CPU: tensors, numbers, texts, containers.

    Checksums are compared, which torch.load does not. Containers that contain themselves, and
    tensors larger than their memory (strides of 0), are refused.

    Raises:
        FileDamage: as above.
        UnpicklingError, RuntimeError, EOFError, OSError, ...: as torch.load.
    """
    if zipfile.is_zipfile(path):
        _check_archive(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old formats
        content = torch.load(path, map_location="cpu", weights_only=True)
    for tensor in tensors_in(content):
        _check_tensor(tensor)
    return content


def tensors_in(content: Any) -> list[Tensor]:
    """Return the tensors in nested dicts, lists and tuples.

    A container that stands in several places is walked once, and its values counted in each.

    Raises:
        FileDamage: one contains itself, or there is no end of them.
    """
    tensors: list[Tensor] = []
    sizes: dict[int, tuple[int, int]] = {}
    open_ones: set[int] = set()

    def measure(value: Any, above: int) -> tuple[int, int]:
        """Return how many values there are, and how many levels of containers."""
        if isinstance(value, Tensor):
            tensors.append(value)
        if not isinstance(value, dict | list | tuple | set):
            return 1, 0
        items, levels = sizes.get(id(value), (1, 1))
        if id(value) in open_ones or above + levels > MOST_DEPTH:
            raise FileDamage("it holds a container within itself")
        if id(value) in sizes:
            return items, levels
        open_ones.add(id(value))
        for part in value.values() if isinstance(value, dict) else value:
            within, deep = measure(part, above + 1)
            items, levels = items + within, max(levels, deep + 1)
            if items > MOST_ITEMS:
                raise FileDamage(f"it holds more than {MOST_ITEMS:,} values")
        open_ones.remove(id(value))
        sizes[id(value)] = items, levels
        return items, levels

    measure(content, 0)
    return tensors


def _check_archive(path: Path) -> None:
    """Compare the checksums of a zip archive, and its sizes with that of the file."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise FileDamage("its parts are compressed, which torch.save never does")
            if sum(entry.file_size for entry in entries) > size:
                raise FileDamage("its parts are larger than the file")
            for entry in entries:
                with archive.open(entry) as part:
                    while part.read(CHUNK_BYTES):
                        pass
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise FileDamage(f"a checksum is wrong ({error})") from error


def _check_tensor(tensor: Tensor) -> None:
    """Refuse a tensor that would take more memory, once copied, than it came with."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise FileDamage(f"it holds a tensor of another kind ({tensor.layout}, {tensor.device})")
    held = 0
    with contextlib.suppress(RuntimeError):
        held = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > held:
        shape = "x".join(map(str, tensor.shape))
        raise FileDamage(f"a tensor of {shape} lies on {held:,} bytes")
