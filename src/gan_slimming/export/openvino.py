"""A finished generator as OpenVINO IR, with FakeQuantize for the ONNX model's quantisers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino as ov

from gan_slimming.runtime.started import KEY


def save_ir(content: bytes, path: Path, metadata: Mapping[str, Any]) -> list[Path]:
    """Write path (.xml) and its weights (.bin), int8 weights as int8.

    Args:
        content: the ONNX model.
        path: a file .xml.
        metadata: entries for the model's rt_info, stored as JSON.
    Returns:
        Both files.
    """
    converted = ov.Core().read_model(content)
    _simplify(converted)
    converted.set_rt_info(json.dumps(dict(metadata)), [KEY])
    # Half-precision weights would change what the float layers compute.
    ov.save_model(converted, path, compress_to_fp16=False)
    return [path, path.with_suffix(".bin")]


def _simplify(model: ov.Model) -> None:
    """Fold constants, as openvino.convert_model does; that halves the .xml.

    That function reports its use over the network, which an export must not.
    """
    try:
        from openvino._offline_transformations import apply_moc_transformations
    except ImportError:  # not part of the public interface; without it the file is only larger
        return
    apply_moc_transformations(model, True, False)
