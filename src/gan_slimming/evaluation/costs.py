"""The costs of a model: multiply-accumulates, parameters, bytes, memory and latency."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.data.image_files import ImageError
from gan_slimming.data.inputs import Inputs
from gan_slimming.errors import UserError
from gan_slimming.evaluation.images import read_image
from gan_slimming.evaluation.items import Items, read_frames
from gan_slimming.evaluation.subjects import Origin, Subject
from gan_slimming.export.benchmark_jobs import Job, Plan, load
from gan_slimming.export.benchmark_jobs import Origin as JobOrigin
from gan_slimming.export.placement import ExportedGenerator
from gan_slimming.metrics.activation_memory import peak_activation_bytes
from gan_slimming.metrics.complexity import Complexity, count
from gan_slimming.runtime.latency import measure
from gan_slimming.runtime.sessions import available_cpus

LATENCY_ROUNDS = 5
UNKNOWN: dict[str, Any] = dict.fromkeys(
    ("size", "macs", "paper_convention_macs", "parameters", "size_bytes", "peak_activation_bytes")
)


def costs_of(subject: Subject, items: Items, layers: bool = False) -> dict[str, Any]:
    """Return the costs of one image of the first item's size.

    Args:
        subject: a model; the costs of a folder of images are unknown.
        items: the inputs.
        layers: whether to add the costs of each layer.
    Returns:
        size ([height, width] of the input, or null for noise), macs, paper_convention_macs,
        parameters, size_bytes, peak_activation_bytes (of a batch of one in float32), and layers.
    """
    if subject.generator is None:
        return dict(UNKNOWN)
    contract = subject.generator.contract
    size = None if contract.latent_size else _first_size(items, contract)
    inner = subject.generator.generator
    if isinstance(inner, ExportedGenerator):
        return _exported(inner, size)
    inputs = _inputs(contract, size, inner)
    complexity = count(inner, inputs)
    found = {
        "size": size,
        "macs": complexity.macs,
        "paper_convention_macs": complexity.paper_convention_macs,
        "parameters": complexity.parameters,
        "size_bytes": subject.file.stat().st_size if subject.file else None,
        "peak_activation_bytes": peak_activation_bytes(inner, inputs),
    }
    return found | ({"layers": _layers(complexity, inputs[0])} if layers else {})


def _exported(inner: ExportedGenerator, size: list[int] | None) -> dict[str, Any]:
    """Return the costs that an exported file states in its metadata."""
    told, opened = inner.opened.metadata, inner.opened
    per_pixel = told.get("macs_per_pixel", 0)
    pixels = size[0] * size[1] if size else 0
    macs = int(told.get("macs", per_pixel * pixels)) or None
    return UNKNOWN | {"size": size, "macs": macs, "size_bytes": opened.size_bytes}


def _first_size(items: Items, contract: InputContract) -> list[int]:
    """Return the height and width of the first input, padded as the generator receives it.

    A signal's height is 1.
    """
    if items.size is not None:
        sides = [items.size, items.size]
    elif items.video is not None:
        sides = list(next(iter(read_frames(items.video))).shape[-2:])
    elif items.paths or items.read is None:
        sides = _first_readable(items.paths)
    else:
        sides = list(items.read(0)[0].shape[-2:])
    if contract.signal:
        return [1, contract.next_side(sides[-1])]
    return [contract.next_side(side) for side in sides]


def _first_readable(paths: Sequence[Path]) -> list[int]:
    """Height and width of the first image that can be read; there is one, or nothing was judged."""
    for path in paths:
        with contextlib.suppress(ImageError):
            return list(read_image(path).shape[-2:])
    raise UserError("no image can be read any more")


def _inputs(contract: InputContract, size: list[int] | None, like: nn.Module) -> Inputs:
    """Return dummy inputs of batch 1; `size` is height and width, None for noise."""
    return dummy_inputs(contract, (size[0], size[1]) if size else 1, like=like)


def _layers(complexity: Complexity, example: Tensor) -> list[dict[str, Any]]:
    return [
        {
            "name": layer.name,
            "kind": layer.kind,
            "macs": layer.macs,
            "paper_convention_macs": layer.paper_convention_macs,
            "parameters": layer.parameters,
            "output_shape": list(layer.output_shape),
            "output_bytes": torch.Size(layer.output_shape).numel() * example.element_size()
            if layer.output_shape
            else None,
        }
        for layer in complexity.layers
    ]


def latencies(subjects: Sequence[Subject], items: Items, origin: Origin) -> list[dict[str, Any]]:
    """Return latency_ms and latency_spread_ms of each model, timed in turns in separate processes.

    Models run as in `benchmark`: in torch, or an exported file in its runtime, with a batch of one.
    Inputs are square, with the width of the first item as their side. Folders of images and
    generators without a file have no latency.
    """
    rows: list[dict[str, Any]] = [{"latency_ms": None, "latency_spread_ms": None} for _ in subjects]
    jobs: list[tuple[int, Job]] = []
    threads = origin.threads or available_cpus()
    for place, subject in enumerate(subjects):
        if subject.generator is not None and subject.file is not None:
            jobs.append((place, _job(subject, items, origin, threads)))
    if jobs:
        timed = measure([job for _, job in jobs], load, rounds=LATENCY_ROUNDS)
        for (place, _), (latency, _) in zip(jobs, timed, strict=True):
            rows[place] = {
                "latency_ms": latency.median_ms,
                "latency_spread_ms": latency.spread_ms,
            }
    return rows


def _job(subject: Subject, items: Items, origin: Origin, threads: int) -> Job:
    """Return the latency job of a model."""
    assert subject.generator is not None
    contract, inner = subject.generator.contract, subject.generator.generator
    size = 0 if contract.latent_size else _first_size(items, contract)[-1]
    runtime = inner.opened.runtime if isinstance(inner, ExportedGenerator) else "torch"
    origin = origin.of(subject.source)
    told = JobOrigin(
        origin.weights,
        origin.factory,
        dict(origin.arguments) if origin.arguments else None,
    )
    plan = Plan(size, threads, (runtime,), ("f32", "int8"), False, told)
    return Job(subject.name, runtime, "f32", plan, str(subject.source), None, None)
