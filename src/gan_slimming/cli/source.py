"""The flags that all commands on a MODEL share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_slimming.config import WeightsFile
from gan_slimming.errors import UserError


@dataclass(frozen=True)
class Source:
    """The origin of a MODEL, where its name does not tell it."""

    weights: Path | None = None
    """Weights for a NAME or package.module:factory, such as Hayao.pth, instead of :WEIGHTS."""
    generator: str | None = None
    """Factory of a saved generator of your own code, as package.module:factory, such as
    mine.nets:make. A saved file alone never causes an import."""
    generator_args: dict[str, Any] | None = None
    """Arguments of the factory that MODEL names, as JSON, such as '{"width": 32}'. Default: those
    saved with the generator, else the factory's own."""
    weights_key: str | None = None
    """Place of the generator in the weights file, such as G_A or state_dict.generator. Default:
    whatever fits, averaged weights (EMA) before raw ones."""
    rename: list[str] | None = None
    """Parts of names in the weights file and in the generator, such as block=conv_block. Default:
    none."""


def data_or_dataset(data: Path | None, dataset: str | None) -> Any:
    """Return the folder or file of --data, or the dataset that --dataset makes.

    Raises:
        UserError: both are named, or the dataset's code fails.
    """
    if data is not None and dataset is not None:
        raise UserError(f"name --data or --dataset, not both; got {data} and {dataset}")
    if dataset is None:
        return data
    from gan_slimming.data.dataset import load_dataset

    return load_dataset(dataset)


def weights_file(
    path: Path | None, key: str | None, rename: list[str] | None
) -> WeightsFile | None:
    """Return the weights that flags name; None where they name nothing."""
    return WeightsFile(path, key, tuple(rename or ())) if path or key or rename else None


def options(source: Source | None) -> dict[str, Any]:
    """Return the keyword arguments of a workflow."""
    source = source or Source()
    return {
        "weights": weights_file(source.weights, source.weights_key, source.rename),
        "factory": source.generator,
        "arguments": source.generator_args,
    }
