"""The command inspect: a generator's layers, their costs, and its channel groups."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from gan_slimming.config import InputContract, WeightsFile, check_exports, check_numbers
from gan_slimming.data.adapter import check_taken, dummy_inputs, output_side
from gan_slimming.data.whole_copy import whole_copy
from gan_slimming.errors import UserError
from gan_slimming.metrics.architecture import group_rows, layer_rows
from gan_slimming.metrics.complexity import count
from gan_slimming.models import infer_spec, spec_of
from gan_slimming.serialization.resolve import model_file, resolve_model
from gan_slimming.student.student import prepare
from gan_slimming.training.test_time import describe_test_time, describe_vanishing

TABLE_WIDTH = 110
"""Width of the tables in characters, if stderr is no terminal."""


class GroupsWarning(UserWarning):
    """A warning that channel groups could not be found; layers and totals are still right."""


def inspect(
    model: str | Path | nn.Module,
    size: int = 256,
    *,
    weights: str | Path | WeightsFile | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    protect: Iterable[str] = (),
    exports: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the layers, channel groups and totals of a generator.

    Args:
        model: as for resolve_model, or a generator.
        size: height and width in pixels of the input image for which MACs are counted; unused for
            generators of noise.
        weights, factory, arguments: as for resolve_model.
        protect: shell patterns of modules that keep all their channels.
        exports: formats to try.

    Returns:
        model, size (of the input image or signal, or of the output of noise), signal, macs (true
        multiply-accumulates), paper_convention_macs (transposed convolutions at output resolution:
        the '56.8 G' of CycleGAN's papers), parameters, size_bytes (of the file; None without one),
        layers, test_time (one line on what images depend on besides their input, '' for nothing),
        groups and exports (format, quantization, sizes, problem, restricted, of each that
        was tried), a list of dicts each.
    Raises:
        UserError: there is no such model, or the size does not fit it.
    """
    check_numbers(size=size)
    check_exports(exports)
    file = None if isinstance(model, nn.Module) else model_file(model)
    if isinstance(model, nn.Module):
        generator = model
    else:
        generator = resolve_model(model, weights, "cpu", factory, arguments)
    if file is None and weights is not None:
        file = Path(weights)
    contract = infer_spec(generator).contract
    if contract.latent_size:
        size = output_side(generator, contract, size)
    else:
        size = contract.size or size
        contract.check_side(size)
        check_taken(generator, contract, size)
    example = dummy_inputs(contract, size, like=generator)
    complexity = count(generator, example)
    return {
        "model": str(spec_of(generator)),
        "size": size,
        "signal": contract.signal,
        "macs": complexity.macs,
        "paper_convention_macs": complexity.paper_convention_macs,
        "parameters": complexity.parameters,
        "size_bytes": file.stat().st_size if file is not None else None,
        "layers": layer_rows(generator, complexity),
        "test_time": _test_time(generator, contract, size),
        "groups": _group_rows_or_warning(generator, example, list(protect)),
        "exports": _tried(generator, example, list(protect), exports, size),
    }


def _test_time(generator: nn.Module, contract: InputContract, size: int) -> str:
    """Return what the images depend on besides their input, as compress says it."""
    still = whole_copy(generator).requires_grad_(False)
    still.eval()  # a user's own may return nothing
    told = (describe_vanishing, describe_test_time)
    return "; ".join(filter(None, (describe(still, contract, size) for describe in told)))


def _tried(
    generator: nn.Module,
    example: tuple[torch.Tensor, ...],
    protect: list[str],
    formats: Sequence[str],
    size: int,
) -> list[dict[str, Any]]:
    """Return what a trial export of the generator's int8 student shows, as compress makes it."""
    if not formats:
        return []
    from gan_slimming.export.rehearsal import rehearse, require_runtimes

    require_runtimes(formats)
    student = prepare(generator, example, protect=protect)
    return [dataclasses.asdict(result) for result in rehearse(student, formats, size)]


def _group_rows_or_warning(
    generator: nn.Module, example: tuple[torch.Tensor, ...], protect: list[str]
) -> list[dict[str, Any]]:
    try:
        return group_rows(generator, example, protect)
    except UserError as error:
        warnings.warn(f"no channel groups: {error}", GroupsWarning, stacklevel=3)
        return []


def print_report(report: Mapping[str, Any]) -> None:
    """Print the report as tables on stderr."""
    console = Console(stderr=True, width=None if sys.stderr.isatty() else TABLE_WIDTH)
    layers = Table("layer", "type", title=report["model"], title_justify="left")
    for heading in ("weight", "output", "MACs", "parameters", "bits"):
        layers.add_column(heading, justify="right")
    for row in report["layers"]:
        shapes = ("×".join(map(str, row[key])) for key in ("shape", "output"))
        amounts = (f"{row[key]:,}" for key in ("macs", "parameters"))
        layers.add_row(row["name"], row["type"], *shapes, *amounts, str(row["bits"] or ""))
    console.print(layers)
    groups = Table(
        "channel group", title="Channels that live or die together", title_justify="left"
    )
    for heading in ("channels", "tensors", "MACs each", "parameters each"):
        groups.add_column(heading, justify="right")
    groups.add_column("stays because")
    for row in report["groups"]:
        amounts = (f"{row[key]:,}" for key in ("macs_per_channel", "parameters_per_channel"))
        counts = (str(row["channels"]), str(len(row["members"])))
        groups.add_row(row["name"], *counts, *amounts, row["protected"])
    if report["groups"]:
        console.print(groups)
    size = report["size"]
    sides = f"{size} frames" if report["signal"] else f"{size}×{size}"
    console.print(
        f"{report['macs']:,} MACs at {sides} "
        f"({report['paper_convention_macs']:,} as papers count transposed convolutions), "
        f"{report['parameters']:,} parameters"
        + (f", {report['size_bytes']:,} bytes on disk" if report["size_bytes"] else ""),
        highlight=False,
        soft_wrap=True,
    )
    if report["test_time"]:
        console.print(report["test_time"], highlight=False, soft_wrap=True)
    for row in report["exports"]:
        from gan_slimming.export.rehearsal import Rehearsal

        console.print(str(Rehearsal(**row)), highlight=False, soft_wrap=True)
