"""Images of more than 8 bits per channel: PNG and TIFF, read and written whole.

Of 16 bits in colour Pillow reads the upper 8. It is asked twice, the second time as if the bytes
stood in the other order, and so gives the lower 8, too. It does not write such images at all.
"""

from __future__ import annotations

import struct
import sys
import zlib
from io import BytesIO
from typing import Any

import numpy as np

from gan_slimming.data.image_opening import open_image

DEEP_SUFFIXES = (".png", ".tif", ".tiff")
"""Endings of formats that are written with 16 bits."""
Samples = np.ndarray[Any, Any]
"""(height, width, bands); bands are 1, 3 or 4, of which the fourth is opacity."""
_NATIVE = "16L" if sys.byteorder == "little" else "16B"
_OTHER = {"16B": "16L", "16L": "16B", "16N": "16B" if _NATIVE == "16L" else "16L"}
"""Order of bytes -> the other one."""
_WHITE = {"I": 65535.0, "F": 1.0}
"""Pillow's mode of 32 bits -> value of white."""
_PNG_KINDS = {1: 0, 3: 2, 4: 6}
"""Bands -> colour type of PNG."""
_SHORT, _LONG = 3, 4
"""Types of numbers in TIFF, of 2 and 4 bytes."""


def read_deep(content: bytes) -> Samples | None:
    """Return the samples of more than 8 bits, float32 in [0, 1]; None for an image of 8 and fewer.

    Raises:
        ValueError: samples of 32 bits are outside [0, 65535], or those with a point outside [0, 1].
    """
    with open_image(BytesIO(content)) as image:
        if image.mode.startswith("I;16"):
            return np.array(image.convert("I"), dtype=np.float32)[..., None] / 65535
        if image.mode in _WHITE:
            return _in_range(np.array(image, dtype=np.float64), _WHITE[image.mode])[..., None]
        halves = [_other_half(tile) for tile in image.tile]
        if image.mode not in ("RGB", "RGBA") or not halves or None in halves:
            return None
        upper = np.array(image).astype(np.uint16)
    with open_image(BytesIO(content)) as image:
        image.tile = halves
        lower = np.array(image)
    return ((upper << 8) | lower).astype(np.float32) / 65535


def write_deep(suffix: str, samples: Samples) -> bytes:
    """Return the bytes of a PNG or TIFF file with 16 bits per sample, compressed without loss.

    Args:
        suffix: one of DEEP_SUFFIXES, in lower case.
        samples: uint16.
    """
    return _png(samples) if suffix == ".png" else _tiff(samples)


def _in_range(samples: Samples, white: float) -> Samples:
    """Return samples over white; raise ValueError if some are not in [0, white]."""
    if not (samples.min() >= 0 and samples.max() <= white):  # also refuses NaN
        got = f"samples from {samples.min():g} to {samples.max():g}"
        raise ValueError(f"{got} are outside [0, {white:g}]; save it with 8 or 16 bits per channel")
    return (samples / white).astype(np.float32)


def _other_half(tile: Any) -> Any:
    """Return a tile of Pillow with its bytes in the other order; None for samples of 8 bits."""
    codec, extents, offset, arguments = tile
    listed = arguments if isinstance(arguments, tuple) else (arguments,)
    layout, _, order = str(listed[0]).partition(";")
    if order not in _OTHER or layout not in ("RGB", "RGBA", "RGBX"):
        return None
    other = (f"{layout};{_OTHER[order]}", *listed[1:])
    changed = other if isinstance(arguments, tuple) else other[0]
    kind = type(tile)
    return kind(codec, extents, offset, changed) if kind is not tuple else (
        codec, extents, offset, changed
    )  # fmt: skip


def _png(samples: Samples) -> bytes:
    """Return a PNG file; each row is stored as its difference to the one above (filter 'up')."""
    height, width, bands = samples.shape
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.concatenate([np.full((height, 1), 2, np.uint8), rows - above], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 16, _PNG_KINDS[bands], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


def _tiff(samples: Samples) -> bytes:
    """Return a TIFF file of one strip, deflated (little-endian, TIFF 6.0)."""
    height, width, bands = samples.shape
    strip = zlib.compress(samples.astype("<u2").tobytes())
    depths = struct.pack(f"<{bands}H", *[16] * bands)
    start = 8  # behind the header: the strip, the depths, then the directory
    directory = start + len(strip) + len(strip) % 2 + len(depths) + len(depths) % 4
    depth = 16 if bands == 1 else start + len(strip) + len(strip) % 2
    entries = [
        (256, _LONG, 1, width),
        (257, _LONG, 1, height),
        (258, _SHORT, bands, depth),
        (259, _SHORT, 1, 8),  # deflate
        (262, _SHORT, 1, 1 if bands == 1 else 2),  # black is zero, or RGB
        (273, _LONG, 1, start),
        (277, _SHORT, 1, bands),
        (278, _LONG, 1, height),
        (279, _LONG, 1, len(strip)),
        (284, _SHORT, 1, 1),  # bands side by side
    ]
    if bands == 4:
        entries.append((338, _SHORT, 1, 2))  # opacity, not multiplied in
    listed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    body = strip + bytes(len(strip) % 2) + depths + bytes(len(depths) % 4)
    return (
        struct.pack("<2sHI", b"II", 42, directory)
        + body
        + struct.pack("<H", len(entries))
        + listed
        + bytes(4)
    )
