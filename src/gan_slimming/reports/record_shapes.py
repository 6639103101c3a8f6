"""The shapes of a run's records, so that a damaged one is left out and not drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import EllipsisType
from typing import Any

from gan_slimming.student.ranges import LayerRange

LARGEST = 1e30
"""No figure of a run is larger."""
Shape = Any
"""What a value has to be.

float stands for a number or a truth value, str and None for themselves, [shape] for a list, a tuple
for any of its shapes, a dict for an object: name -> shape. A name that ends in ? may be absent, and
... stands for all other names, which are free without it.
"""

METRICS: Shape = {"step": float, ...: (float, None)}
GATES: Shape = {
    "step": float, "seconds?": float, "kept": {...: float}, "decades": [float], "counts": [float]
}  # fmt: skip
HELD_OUT: Shape = {"name": str, "sample?": (str, None), ...: (float, None)}
RANGES: Shape = [
    {field.name: float for field in fields(LayerRange)}
    | {"layer": str, "weight_bits": (float, None)}
]
_LAYER: Shape = {"name": str, "kind": str, "macs": float, "parameters": float}
LAYERS: Shape = {"teacher": [_LAYER], "student": [_LAYER]}
SUMMARY: Shape = {
    "generator?": str, "verdict?": str, "report?": str,
    "protocol?": ({...: (float, str, None)}, None), "target?": ({"text": str}, None),
    "exports?": ([{}], None), ...: (float, None),
}  # fmt: skip
BENCHMARK: Shape = {
    "measurements?": [{
        "model": str, "runtime": str, "precision": str, "latency_ms?": (float, None),
        "spread?": (float, None),
    }]
}  # fmt: skip
CONFIG: Shape = {
    "generator": {"name": str}, "channels?": ({...: float}, None),
    "environment?": ({"versions?": ({}, None)}, None),
}  # fmt: skip


def fits(value: Any, shape: Shape) -> bool:
    """Return whether a value read from JSON or YAML has a shape.

    >>> fits({"step": 3, "psnr": None}, METRICS), fits({"step": 3, "psnr": []}, METRICS)
    (True, False)
    """
    if isinstance(shape, tuple):
        return any(fits(value, one) for one in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        return isinstance(value, dict) and _has(value, shape)
    if shape is float:
        return isinstance(value, int | float) and -LARGEST <= value <= LARGEST
    return value is None if shape is None else isinstance(value, shape)


def is_histogram(row: Mapping[str, Any]) -> bool:
    """Return whether a line of gates.jsonl can be drawn."""
    ends = row["decades"]
    return len(ends) == 2 and ends[0] < ends[1] and len(row["counts"]) > 0


def without_nothing(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that are not None: a figure that is not finite is written as null."""
    return {name: value for name, value in record.items() if value is not None}


def _has(value: Mapping[Any, Any], shape: Mapping[str | EllipsisType, Shape]) -> bool:
    named = {name.removesuffix("?"): name for name in shape if isinstance(name, str)}
    if any(bare == name and bare not in value for bare, name in named.items()):
        return False
    rest = shape.get(..., object)
    return all(
        isinstance(key, str) and fits(item, shape[named[key]] if key in named else rest)
        for key, item in value.items()
    )
