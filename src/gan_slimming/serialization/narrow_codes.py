"""Codes of few bits, packed without gaps: two weights of 4 bits share a byte.

Codes of 7 and 8 bits stay bytes of their tensor's shape, which any safetensors reader shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_slimming.config import NARROW_BITS

ENTRY = 64
"""Bytes that a narrow tensor costs in the header, at most; what gains less stays bytes."""


def weight_bits(quantized: Mapping[str, Any]) -> dict[str, int]:
    """Return weight's name -> bits of its codes, of every quantised layer by its path."""
    return {
        f"{path}.weight" if path else "weight": way.weight_bits for path, way in quantized.items()
    }


def narrow_codes(
    tensors: Mapping[str, Tensor], bits: Mapping[str, int]
) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """Pack the codes of few bits among tensors.

    Args:
        tensors: name -> codes as int8, or any other tensor.
        bits: name -> bits of its codes.
    Returns:
        The tensors, packed ones as (bytes,) uint8, and the shapes of the packed ones.
    """
    found, shapes = dict(tensors), {}
    for name, width in bits.items():
        codes = tensors.get(name)
        if codes is None or not 0 < width <= NARROW_BITS:
            continue
        if codes.numel() - bytes_of(codes.numel(), width) > ENTRY:
            found[name], shapes[name] = pack_bits(codes, width), list(codes.shape)
    return found, shapes


def widen_codes(
    tensors: Mapping[str, Tensor], shapes: Any, bits: Mapping[str, int]
) -> dict[str, Tensor]:
    """Return the tensors with packed codes as int8 of their shapes again.

    Raises:
        KeyError, TypeError, ValueError: shapes, from a file, do not belong to the tensors.
    """
    found = dict(tensors)
    if not isinstance(shapes, dict):
        raise TypeError("narrow is no dict")
    for name, shape in shapes.items():
        packed, width = tensors[name], bits[name]
        whole = isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape)
        if not whole or not 0 < width <= NARROW_BITS or packed.dtype != torch.uint8:
            raise ValueError(f"{name} has codes of {width} bits, shape {str(shape)[:60]}")
        if packed.dim() != 1 or len(packed) != bytes_of(prod(shape), width):
            raise ValueError(f"{name} has {packed.numel()} bytes for {str(shape)[:60]}")
        found[name] = unpack_bits(packed, width, prod(shape)).reshape(shape)
    return found


def bytes_of(count: int, bits: int) -> int:
    """Return the bytes of so many packed codes."""
    return -(-count * bits // 8)


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """Return codes of any shape, in two's complement, as (bytes,) uint8, the lowest bit first."""
    values = codes.flatten().numpy().astype(np.int8).view(np.uint8)
    each = (values[:, None] >> np.arange(bits, dtype=np.uint8)) & 1
    return torch.from_numpy(np.packbits(each, bitorder="little"))


def unpack_bits(packed: Tensor, bits: int, count: int) -> Tensor:
    """Return (count,) int8, the inverse of `pack_bits`."""
    each = np.unpackbits(packed.numpy(), count=count * bits, bitorder="little")
    places = 1 << np.arange(bits, dtype=np.int16)
    values = (each.reshape(count, bits) * places).sum(1, dtype=np.int16)
    return torch.from_numpy((values - ((values >> (bits - 1)) << bits)).astype(np.int8))
