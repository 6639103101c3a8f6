"""The content of an exported file in memory, and the metadata in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.metrics.complexity import count

FLOAT = "float"
"""The name of a model without integers, in files of every version."""


@dataclass(frozen=True)
class ExportedContent:
    """An exported model in memory."""

    content: bytes
    """The file."""
    metadata: dict[str, Any]
    """Metadata, the same in all formats."""
    float_layers: list[str]
    """Layers that training quantised but that this file computes in float."""
    parity: dict[str, Any]
    """Runtime -> its greatest difference, and the layer with it."""
    cpus: dict[str, list[str]]
    """Kind of CPU -> layers that OpenVINO's int8 kernels get wrong there; `own` is this CPU."""
    restricted: str = ""
    """Why the file takes fewer sizes than the generator; '' where it takes all."""
    outside: list[dict[str, Any]] | None = None
    """Of .pte and .tflite: operators that XNNPACK leaves to other kernels; None elsewhere."""


def metadata_of(
    contract: InputContract, form: str, generator: str, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the metadata that make the file sufficient for translate and benchmark."""
    return {
        "format": 1,
        "form": form,
        "generator": generator,
        "contract": dataclasses.asdict(contract),
        "provenance": dict(provenance),
    }


def with_macs(
    metadata: Mapping[str, Any], module: nn.Module, contract: InputContract, side: int
) -> dict[str, Any]:
    """Return metadata with the generator's MACs: of one sample of noise, or per pixel or frame."""
    macs = count(module, dummy_inputs(contract, side)).macs
    whole, positions = contract.latent_size > 0, side if contract.signal else side**2
    return {**metadata, **({"macs": macs} if whole else {"macs_per_pixel": macs / positions})}


def with_version(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return provenance with the version of this package, if it is installed."""
    try:
        return {"exported_by": f"gan-slimming {version('gan-slimming')}", **provenance}
    except PackageNotFoundError:
        return dict(provenance)
