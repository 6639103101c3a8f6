"""The header of generator.safetensors: its fields, checked before anything is made of them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from gan_slimming.models.catalogue import DEPTHS, MOST_NUMBER

KINDS: dict[str, type] = {
    "format": int,
    "generator": str,
    "arguments": dict,
    "contract": dict,
    "identities": list,
    "quantizers": list,
    "vectors": list,
    "channel_map": dict,
    "provenance": dict,
}
"""Field -> its type. `numbers` may be missing."""
MOST_BITS = 16
MOST_MASK = 1 << 15
"""Characters of a channel mask: some 200,000 channels."""


def check_header(header: Any, tensors: Mapping[str, Tensor]) -> None:
    """Check the type and range of every field; sizes are bounded by what the file holds.

    Raises:
        KeyError, TypeError, ValueError: one is missing or wrong; the text says which.
    """
    if not isinstance(header, dict):
        raise TypeError(f"it is a {type(header).__name__}")
    header = {name: kind() for name, kind in KINDS.items()} | header  # a reader says what lacks
    for name, kind in KINDS.items():
        if type(header[name]) is not kind:
            raise TypeError(f"{name} is no {kind.__name__}")
    held = sum(tensor.numel() for tensor in tensors.values())
    if not all(isinstance(path, str) for path in header["identities"]):
        raise TypeError("identities are no names")
    for row in header["quantizers"]:
        _check_quantizer(row)
    for row in header["vectors"]:
        _check_vector(row, held, len(header["quantizers"]))
    for name, mask in header["channel_map"].items():
        if not isinstance(mask, str) or len(mask) > MOST_MASK:
            raise ValueError(f"the channels of {name} are no mask")
    layers = len(header["vectors"]) + len(tensors) + len(header["identities"])
    for name, value in header["arguments"].items():
        _check_argument(name, value, layers)


def _check_quantizer(row: Any) -> None:
    """Check [weight_bits, input_bits, signed, learnt], and the bits of rounded outputs."""
    whole = isinstance(row, list) and len(row) in (4, 5) and all(type(n) is int for n in row)
    if not whole or not all(0 <= bits <= MOST_BITS for bits in (*row[:2], *row[4:])):
        raise ValueError(f"a quantiser is {str(row)[:60]}")
    if any(flag not in (0, 1) for flag in row[2:4]) or 1 in (*row[:2], *row[4:]):
        raise ValueError(f"a quantiser is {str(row)[:60]}")


def _check_vector(row: Any, held: int, quantizers: int) -> None:
    """Check [layer, length or None, fields] and, for a quantised layer, its quantiser's index."""
    if not isinstance(row, list) or len(row) not in (3, 4):
        raise ValueError(f"a row of vectors is {str(row)[:60]}")
    path, length, fields, *way = row
    if not isinstance(path, str) or not isinstance(fields, str):
        raise TypeError(f"a row of vectors is {str(row)[:60]}")
    if length is not None and (type(length) is not int or not 0 <= length <= held):
        raise ValueError(f"{path} has vectors of {length} values, the file holds {held}")
    if any(type(index) is not int or not 0 <= index < quantizers for index in way):
        raise ValueError(f"{path} has quantiser {way[0]} of {quantizers}")


def _check_argument(name: str, value: Any, layers: int) -> None:
    """Check an argument of the factory; a depth is bounded by the layers that the file holds."""
    if type(value) is int and not -MOST_NUMBER <= value <= MOST_NUMBER:
        raise ValueError(f"{name} is {str(value)[:20]}, more than {MOST_NUMBER}")
    if name in DEPTHS and (type(value) is not int or value > layers):
        raise ValueError(f"{name} is {str(value)[:20]}, the file holds {layers} layers")


def bitmask(kept: Iterable[int]) -> str:
    """Return channels as base64 of a bit each, the lowest first: 44 characters for 256 of them.

    >>> bitmask([0, 1, 9]), channels_of("AwI=")
    ('AwI=', [0, 1, 9])
    """
    bits = sum(1 << channel for channel in set(kept))
    return base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "little")).decode()


def channels_of(mask: str) -> list[int]:
    """Return the channels of a `bitmask`."""
    content = base64.b64decode(mask, validate=True)
    return [8 * at + bit for at, byte in enumerate(content) for bit in range(8) if byte >> bit & 1]
