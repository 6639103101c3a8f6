"""Opening of image files: of named formats alone, and no larger than memory has room for."""

from __future__ import annotations

import threading
from io import BytesIO
from pathlib import Path

from PIL import Image
from PIL.ImageFile import ImageFile

from gan_slimming.data.memory import free_memory

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM")
"""Pillow's names of the formats that are read; JPEG includes the MPO of phones."""
PIXEL_BYTES = 24
"""Bytes that a pixel takes at most while it is decoded and converted to floats."""
PILLOWS_LIMIT = 2**30 // 12
_OPENING = threading.Lock()


class TooLarge(ValueError):
    """An image that does not fit into memory."""


def open_image(source: Path | BytesIO) -> ImageFile:
    """Open an image of a named format, whatever its name says; pixels are not decoded yet.

    Pillow knows more formats than these, and starts another program for some.

    Raises:
        TooLarge: this machine has no room for so many pixels.
        UnidentifiedImageError, OSError, ...: as Image.open.
    """
    with _OPENING:  # Pillow's limit is one for all threads
        limit = Image.MAX_IMAGE_PIXELS
        if limit == PILLOWS_LIMIT:  # which knows nothing of this machine; another is the user's own
            Image.MAX_IMAGE_PIXELS = None
        try:
            image = Image.open(source, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    width, height = image.size
    if width * height > (most := free_memory() // PIXEL_BYTES):
        image.close()
        raise TooLarge(f"{width}x{height} pixels; there is memory for {most:,}")
    return image
