"""Embedded colour profiles: images of wide-gamut phones and cameras as sRGB."""

from __future__ import annotations

from io import BytesIO
from itertools import product
from typing import Any

import numpy as np
from PIL import Image

_CLOSE = 2
"""Largest difference, in codes of 8 bits, of a profile that counts as sRGB."""
_STEPS = (0, 64, 128, 192, 255)
"""Codes of each channel on which a profile is tried."""


def to_srgb(image: Image.Image) -> tuple[Image.Image, str | None]:
    """Convert an image by its embedded profile to sRGB; return it, and the profile's name.

    Colours outside sRGB are mapped as viewers do by default (perceptual). An image
    without a profile, with that of sRGB, or with a damaged one stays as it is, and the name is
    None. Transparency stays.

    Args:
        image: of 8 bits per channel, of mode L, LA, P, RGB, RGBA or CMYK.
    """
    content = image.info.get("icc_profile")
    if not content or image.mode not in ("L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
        return image, None
    try:
        from PIL import ImageCms

        profile: Any = ImageCms.ImageCmsProfile(BytesIO(content))
        colours, alpha = _without_alpha(image, profile.profile.xcolor_space.strip())
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(profile, srgb, colours.mode, "RGB")
        if colours.mode == "RGB" and _is_srgb(transform):
            return image, None
        converted = ImageCms.applyTransform(colours, transform)
        name = ImageCms.getProfileDescription(profile).strip()
    except Exception:  # damaged profiles, or a Pillow built without LittleCMS: the pixels are sound
        return image, None
    if converted is None:
        return image, None
    if alpha is not None:
        converted.putalpha(alpha)
    converted.info = {
        k: v for k, v in image.info.items() if k not in ("icc_profile", "transparency")
    }
    return converted, name or "of an unknown name"


def _without_alpha(image: Image.Image, space: str) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours in a mode of the profile's space, and the transparency, if any."""
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    mode = {"GRAY": "L", "CMYK": "CMYK"}.get(space, "RGB")
    if mode == "L" and image.mode not in ("L", "LA"):
        raise ValueError("a profile of grey in a coloured image")
    if mode == "CMYK" and image.mode != "CMYK":
        raise ValueError("a profile of print colours in another image")
    return image.convert(mode), alpha


def _is_srgb(transform: object) -> bool:
    """Return whether a transform from RGB to sRGB changes nothing that shows."""
    from PIL import ImageCms

    colours = np.array(list(product(_STEPS, repeat=3)), dtype=np.uint8)[None]
    image = Image.fromarray(colours)
    made = ImageCms.applyTransform(image, transform)  # pyright: ignore[reportArgumentType]
    return bool(np.abs(np.asarray(made).astype(int) - colours.astype(int)).max() <= _CLOSE)
