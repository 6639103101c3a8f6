"""Translation of animated GIF, WebP and PNG files, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_slimming.data.files import draft_of
from gan_slimming.data.image_files import ImageError
from gan_slimming.data.image_opening import open_image
from gan_slimming.data.video import Change
from gan_slimming.errors import UserError, one_line

ANIMATED_SUFFIXES = (".gif", ".webp", ".png", ".apng")
"""Endings of images that may have frames."""
_FORMATS = {
    ".gif": ("GIF", {"disposal": 2, "optimize": False}),
    ".webp": ("WEBP", {"quality": 95}),
    ".png": ("PNG", {}),
    ".apng": ("PNG", {}),
}
"""Ending -> Pillow's format and options."""
_DEFAULT_MS = 100
"""Time of a frame, in milliseconds, where the file has none."""


@dataclass
class _Frames:
    """The frames of an animation, with their times."""

    images: list[Image.Image] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)


def is_animation(path: str | Path) -> bool:
    """Return whether a file is an image of several frames, or a GIF, which may be one."""
    path = Path(path)
    if path.suffix.lower() not in ANIMATED_SUFFIXES or not path.is_file():
        return False
    try:
        with open_image(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:
        # Pillow raises nearly anything on damaged files; reading reports the reason later.
        return False


def translate_animation(source: Path, target: Path, change: Change) -> int:
    """Write an animation of changed frames; times, the number of turns and opacity stay.

    The target appears only when complete. A GIF has 256 colours for each frame.

    Args:
        change: maps an image (3, height, width), RGB in [-1, 1], to another, an integer number of
            times as large.
    Returns:
        The number of frames.
    Raises:
        ImageError: the source cannot be read, or the target cannot be written.
    """
    kind, options = _FORMATS[target.suffix.lower()]
    made = _Frames()
    try:
        with open_image(source) as given:
            loop = given.info.get("loop")
            for frame, duration in _frames(given):
                made.images.append(_changed(frame, change))
                made.durations.append(duration)
        target.parent.mkdir(parents=True, exist_ok=True)
        extra: dict[str, Any] = dict(options) | ({} if loop is None else {"loop": loop})
        with draft_of(target) as draft:
            made.images[0].save(
                draft, format=kind, save_all=True, append_images=made.images[1:],
                duration=made.durations, **extra,
            )  # fmt: skip
    except UserError:
        raise
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise ImageError(source, one_line(error), "translate") from error
    return len(made.images)


def _frames(given: Image.Image) -> Iterator[tuple[Image.Image, float]]:
    """Yield every frame, whole, of mode RGB or RGBA, and its time in milliseconds."""
    number = 0
    while True:
        try:
            given.seek(number)
        except EOFError:
            return
        given.load()
        duration = float(given.info.get("duration") or _DEFAULT_MS)
        yield given.convert("RGBA" if given.has_transparency_data else "RGB"), duration
        number += 1


def _changed(frame: Image.Image, change: Change) -> Image.Image:
    """Return a frame's translation, with the opacity of the frame."""
    pixels = torch.from_numpy(np.array(frame)).permute(2, 0, 1)
    result: Tensor = change(pixels[:3].float() / 127.5 - 1)
    codes = ((result.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0)
    made = Image.fromarray(np.ascontiguousarray(codes.cpu().numpy()))
    if frame.mode == "RGBA":
        made.putalpha(frame.getchannel("A").resize(made.size, Image.Resampling.NEAREST))
    return made
