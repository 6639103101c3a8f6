"""Files of torch.save from strangers: nothing in them runs, hangs, or fills the memory."""

from __future__ import annotations

import contextlib
import warnings
import zipfile
from collections.abc import Iterator
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


def tensors_in(content: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested dicts, lists and tuples.

    Raises:
        FileDamage: one contains itself, or there is no end of them.
    """
    above: list[Iterator[Any]] = [iter((content,))]
    open_ones: list[int] = [0]
    items = 0
    while above:
        value = next(above[-1], above)
        if value is above:  # the end of this container
            above.pop()
            open_ones.pop()
            continue
        items += 1
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict | list | tuple | set):
            if id(value) in open_ones or len(above) > MOST_DEPTH:
                raise FileDamage("it holds a container within itself")
            above.append(iter(tuple(value.values()) if isinstance(value, dict) else value))
            open_ones.append(id(value))
        if items > MOST_ITEMS:
            raise FileDamage(f"it holds more than {MOST_ITEMS:,} values")


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
