"""A finished generator as OpenVINO IR: FakeQuantize where the ONNX model quantises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import openvino as ov

from gan_slimming.exporters.onnx import KEY


def openvino_model(model: onnx.ModelProto) -> ov.Model:
    """OpenVINO's own reading of an ONNX model, in memory."""
    return ov.Core().read_model(model.SerializeToString())


def save_ir(model: onnx.ModelProto, path: Path, metadata: Mapping[str, Any]) -> list[Path]:
    """Write path (.xml) and its weights (.bin), int8 weights as int8.

    Returns:
        Both files.
    """
    converted = openvino_model(model)
    converted.set_rt_info(json.dumps(dict(metadata)), [KEY])
    # Half-precision weights would move the float layers away from what was trained.
    ov.save_model(converted, path, compress_to_fp16=False)
    return [path, path.with_suffix(".bin")]
