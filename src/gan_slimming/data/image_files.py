"""Image files: search, reading and writing.

Canonical images are float32 RGB in [-1, 1], in the colours of sRGB.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from gan_slimming.data.colour_profiles import to_srgb
from gan_slimming.data.deep_colour import DEEP_SUFFIXES, read_deep, write_deep
from gan_slimming.data.files import draft_of, write_atomically
from gan_slimming.data.image_opening import TooLarge, open_image
from gan_slimming.data.memory import free_memory
from gan_slimming.data.orientation import turn_of, turned, turned_samples
from gan_slimming.errors import UserError, one_line

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""File name endings of images that are read and written; upper case counts, too."""
_LISTED = (*SUFFIXES, ".gif", ".apng")
"""Those of images that are found in folders."""

_SAVE_OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"quality": 95}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
}
"""Ending -> Pillow's format and options."""
_FORMATS_WITH_ALPHA = ("PNG", "WEBP", "TIFF")


class ImageError(UserError):
    """An image that cannot be read or written, with `path` and `reason` apart for summaries."""

    def __init__(self, path: Path, reason: str, verb: str = "read") -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"cannot {verb} image {path}: {reason}")


@dataclass(frozen=True)
class DecodedImage:
    """An image read from a file, upright."""

    rgb: Tensor
    """(3, height, width) float32 in [-1, 1]; transparent pixels keep their colours."""
    alpha: Tensor | None
    """(height, width) uint8, 255 for opaque; None for a file without transparency."""
    path: Path
    """The image file."""
    deep: bool = False
    """Whether the file has more than 8 bits per channel, as `rgb` then has."""
    grey: bool = False
    """Whether the file has a single channel of colour."""
    profile: str | None = None
    """Name of the colour profile from which `rgb` was converted; None for that of sRGB."""


def read_image(path: str | Path) -> DecodedImage:
    """Read an image of any mode that Pillow knows, turned upright by its EXIF orientation.

    An embedded colour profile is applied. Only the first frame is read.

    Raises:
        ImageError: the file is missing, empty, damaged, no image, or absurdly large.
    """
    path = Path(path)
    content = read_content(path)
    with _told_as(path):
        image = _open(content)
        grey = image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")
        converted, profile = to_srgb(image)
        deep = None if profile else read_deep(content)
        turn = turn_of(image)
        upright = _to_8_bit_colour(turned(converted, turn))
        samples = None if deep is None else turned_samples(deep, turn)
    pixels = torch.from_numpy(np.array(upright)).permute(2, 0, 1)
    alpha = pixels[3].clone() if pixels.shape[0] == 4 else None
    rgb = pixels[:3].float() / 127.5 - 1.0
    if samples is not None:
        rgb = torch.from_numpy(samples).permute(2, 0, 1)[:3].expand_as(rgb) * 2 - 1
    return DecodedImage(rgb, alpha, path, samples is not None, grey, profile)


def read_content(path: Path) -> bytes:
    """Return the file's bytes; raise ImageError if it is missing, unreadable or empty."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ImageError(path, "it is no regular file")
        if path.stat().st_size > free_memory() // 2:
            raise ImageError(path, "it does not fit into memory")
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(path, error.strerror or type(error).__name__) from error
    if not content:
        raise ImageError(path, "the file is empty (0 bytes)")
    return content


def decode_image(path: Path, content: bytes) -> Image.Image:
    """Decode a file's bytes to an upright sRGB image: RGB, or RGBA if it has transparency.

    Samples of 16 bits are scaled to 8, so that white stays white.
    """
    with _told_as(path):
        image = _open(content)
        return _to_8_bit_colour(turned(to_srgb(image)[0], turn_of(image)))


def _open(content: bytes) -> Image.Image:
    with open_image(BytesIO(content)) as image:
        image.load()
        return image


@contextmanager
def _told_as(path: Path) -> Iterator[None]:
    """Raise errors of decoding as ImageError."""
    try:
        yield
    except UnidentifiedImageError:
        raise ImageError(path, "it is not an image in a format that Pillow reads") from None
    except (TooLarge, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(path, f"it is too large; scale it down first ({error})") from error
    except Exception as error:
        # On damaged files Pillow's decoders raise nearly anything: SyntaxError, struct.error, ...
        raise ImageError(path, one_line(error)) from error


def flatten(image: Image.Image) -> Image.Image:
    """Lay an image of mode RGB or RGBA over white; return mode RGB."""
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def write_image(
    path: str | Path, rgb: Tensor, alpha: Tensor | None = None, *, deep: bool = False
) -> None:
    """Write a canonical image in the format of its suffix, atomically; create folders as needed.

    JPEG has quality 95 without chroma subsampling. JPEG and BMP hold no transparency, so such an
    image is laid over white.

    Args:
        rgb: (3, height, width) in [-1, 1], clamped and rounded to 8 bits; or (1, height, width) in
            grey, with `deep` alone.
        alpha: (height, width) uint8, 255 for opaque.
        deep: write 16 bits per channel, where the format has them: PNG and TIFF.

    Raises:
        ImageError: the suffix is unknown, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _SAVE_OPTIONS:
        reason = f"unknown suffix {path.suffix!r}; use one of {', '.join(SUFFIXES)}"
        raise ImageError(path, reason, "write")
    if rgb.ndim != 3 or rgb.shape[0] not in ((1, 3) if deep else (3,)):
        raise ValueError(f"rgb must be (3, height, width), got {tuple(rgb.shape)}")
    if alpha is not None and alpha.shape != rgb.shape[1:]:
        raise ValueError(f"alpha {tuple(alpha.shape)} does not fit rgb {tuple(rgb.shape)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if deep and path.suffix.lower() in DEEP_SUFFIXES:
            write_atomically(path, write_deep(path.suffix.lower(), _to_samples(path, rgb, alpha)))
            return
        file_format, options = _SAVE_OPTIONS[path.suffix.lower()]
        image = _to_image(path, rgb, alpha)
        if file_format not in _FORMATS_WITH_ALPHA:
            image = flatten(image)
        with draft_of(path) as draft:
            image.save(draft, format=file_format, **options)
    except (OSError, ValueError) as error:
        # Pillow raises ValueError if a row has too many pixels for the format.
        reason = getattr(error, "strerror", None) or one_line(error)
        raise ImageError(path, reason, "write") from error


def list_images(paths: Iterable[str | Path]) -> list[Path]:
    """Return all image files among the paths and, at any depth, in folders: sorted, each once.

    A file named in `paths` may have any suffix. In folders, hidden files and folders are skipped,
    and links are followed.

    Raises:
        UserError: a path is missing, a folder cannot be read, or no image is found.
    """
    paths = [Path(path) for path in paths]
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            found.update(_images_below(path))
        elif path.is_file():
            found.add(path)
        elif path.exists():
            raise UserError(f"{path} is no regular file; name an image file or a folder")
        else:
            raise UserError(f"no such file or folder: {path}; check the path")
    if not found:
        where = ", ".join(map(str, paths)) or "an empty list of paths"
        raise UserError(f"no images found in {where}; looked for {', '.join(SUFFIXES)}")
    return sorted(found, key=lambda path: path.parts)


def _images_below(folder: Path) -> Iterator[Path]:
    visited: set[str] = set()
    waiting = [str(folder)]
    while waiting:
        parent = waiting.pop()
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back into the tree
            continue
        visited.add(real)
        try:
            with os.scandir(parent) as listing:
                # Sorted, so that of two links to a folder every machine takes the same one.
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"cannot read folder {parent}: {error.strerror}") from error
        inner: list[str] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                inner.append(entry.path)
            elif entry.name.lower().endswith(_LISTED) and entry.is_file():
                yield Path(entry.path)
        waiting += reversed(inner)


def _to_8_bit_colour(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion of wide modes has clipped at 255 in some releases.
        return _scale_to_8_bit(image.convert("I"), white=65535.0)
    if image.mode == "I":
        return _scale_to_8_bit(image, white=65535.0)
    if image.mode == "F":
        return _scale_to_8_bit(image, white=1.0)
    if image.mode == "RGB" and max(_transparent_colour(image)) > 255:
        # A transparent colour of 16 bits matches none of the samples, which have 8.
        image.info.pop("transparency")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _transparent_colour(image: Image.Image) -> tuple[int, ...]:
    colour = image.info.get("transparency")
    return colour if isinstance(colour, tuple) else (0,)


def _scale_to_8_bit(image: Image.Image, white: float) -> Image.Image:
    samples = np.array(image)
    if not (samples.min() >= 0 and samples.max() <= white):  # also refuses NaN
        got = f"samples from {samples.min():g} to {samples.max():g}"
        raise ValueError(f"{got} are outside [0, {white:g}]; save it with 8 or 16 bits per channel")
    return Image.fromarray(np.rint(samples * (255.0 / white)).astype(np.uint8)).convert("RGB")


def _to_image(path: Path, rgb: Tensor, alpha: Tensor | None) -> Image.Image:
    pixels = _codes(path, rgb, 255.0).to(torch.uint8)
    if alpha is not None:
        pixels = torch.cat([pixels, alpha.cpu().to(torch.uint8).unsqueeze(-1)], dim=-1)
    return Image.fromarray(pixels.contiguous().numpy())


def _to_samples(path: Path, rgb: Tensor, alpha: Tensor | None) -> np.ndarray[Any, Any]:
    """Return (height, width, bands) uint16; opacity needs colour."""
    if alpha is not None:
        rgb = rgb.expand(3, -1, -1)
    samples = _codes(path, rgb, 65535.0).to(torch.int32)
    if alpha is not None:
        samples = torch.cat([samples, alpha.cpu().to(torch.int32).unsqueeze(-1) * 257], dim=-1)
    return samples.numpy().astype(np.uint16)


def _codes(path: Path, rgb: Tensor, white: float) -> Tensor:
    """Return (height, width, channels) of whole numbers in [0, white]."""
    rgb = rgb.detach().float().cpu()
    if rgb.isnan().any():
        raise ImageError(path, "the image holds values that are not numbers (NaN)", "write")
    codes = ((rgb.clamp(-1.0, 1.0) + 1.0) * (white / 2)).round()
    return codes.permute(1, 2, 0).contiguous()
