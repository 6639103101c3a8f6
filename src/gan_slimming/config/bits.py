"""Bits of weights, as the runtimes of exported files take them."""

from __future__ import annotations

PORTABLE_WEIGHT_BITS = 7
"""Most bits per weight with which int8 kernels are exact on every CPU.

CPUs without VNNI, AMX or dot products (AMD before Zen 4, Intel's laptops before 2020) add two
products in 16 bits, which can saturate: 2 * 255 * 127 exceeds 32,767, and 2 * 255 * 63 does not.
"""
NARROW_BITS = 6
"""Most bits per weight that a file stores without gaps; wider codes are bytes."""


def bits_of_weights(bits: int, weight_bits: int | None) -> int:
    """Return the bits per weight: `weight_bits`, else as many as are exact on every CPU."""
    return weight_bits if weight_bits is not None else min(bits, PORTABLE_WEIGHT_BITS)
