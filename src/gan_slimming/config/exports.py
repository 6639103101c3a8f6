"""The formats of exported files."""

from __future__ import annotations

from collections.abc import Sequence

from gan_slimming.errors import UserError

EXPORTS = {"onnx": ".onnx", "openvino": ".xml"}
"""Format -> the ending of its file."""


def check_exports(formats: Sequence[str]) -> None:
    """Raise UserError for formats that are unknown or named twice."""
    unknown = [name for name in formats if name not in EXPORTS]
    if unknown or len(set(formats)) < len(formats):
        given = ",".join(formats)
        raise UserError(f"export must be onnx, openvino, or both as onnx,openvino; got {given!r}")
