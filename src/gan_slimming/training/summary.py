"""What a finished run tells: costs, quality, and how both were measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Summary:
    """The JSON of compress, in summary.json as well."""

    teacher_macs: int
    """True multiply-accumulates of the teacher for one input at `size`."""
    macs: int
    """The same of the student."""
    teacher_parameters: int
    parameters: int
    """Trainable numbers, without quantiser scales."""
    teacher_size_bytes: int
    """Bytes of the teacher's parameters in float32."""
    bits: int | None
    """Bits of activations; None without quantisation."""
    weight_bits: int | None
    size: int
    """Side in pixels of the input image, or of the output where noise goes in."""
    steps: int
    """Number of training steps that were made."""
    seconds: float
    """Time of the work, pauses not counted."""
    generator: str
    """Path of the student's file."""
    size_bytes: int
    """Bytes of that file."""
    quality: dict[str, float]
    """Metric -> mean distance to the teacher on held-out inputs."""
    verdict: str
    """The quality in one sentence."""
    protocol: dict[str, Any]
    """How the figures of quality are to be read."""
    report: str
    """Path of the page."""
    target: dict[str, Any] | None = None
    """The target, what was reached, and the curve of the search; None without a target."""

    exports: list[dict[str, Any]] = field(default_factory=list)
    """What `export` tells of each file of --export that was written."""

    def as_json(self) -> dict[str, Any]:
        """Return the summary with the metrics beside the costs."""
        fields = dict(vars(self))
        last = {name: fields.pop(name) for name in ("verdict", "protocol", "report")}
        more = {name: fields.pop(name) for name in ("target", "exports")}
        last = {name: value for name, value in more.items() if value} | last
        quality = fields.pop("quality")
        return {**fields, **quality, **last}
