"""Benchmark jobs: the runtimes and precisions of a model, and how each one is run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gan_slimming.config import InputContract, WeightsFile
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.data.dummy import dummy_arrays
from gan_slimming.errors import UserError
from gan_slimming.export.content import FLOAT
from gan_slimming.export.drawn_images import drawn_images
from gan_slimming.export.export_model import AT_ONE_SIZE
from gan_slimming.export.offers import OFFERS, Offer
from gan_slimming.export.placement import ExportedGenerator, write_for
from gan_slimming.export.trace.integers import is_quantized
from gan_slimming.metrics.complexity import count
from gan_slimming.models.registry import attach_spec, infer_spec, spec_of
from gan_slimming.runtime.foreign import ForeignFileWarning
from gan_slimming.runtime.profiling import float_kernels, layer_times
from gan_slimming.runtime.sessions import DEFAULTS, KernelWarning, open_runtime
from gan_slimming.serialization.resolve import model_file, resolve_model
from gan_slimming.student.student import calibrate, prepare
from gan_slimming.student.surgery import extract

PRECISIONS = ("f32", "bf16", "int8", "int8-bf16")
"""Precisions; int8-bf16 is int8 for the layers that training quantised, and bf16 for the others."""
CEILING = "a plain stack of convolutions"
CEILING_CHANNELS, CEILING_LAYERS, CEILING_SIZE = 128, 4, 64


@dataclass(frozen=True)
class Origin:
    """The options of resolve_model besides MODEL."""

    weights: str | Path | WeightsFile | None = None
    factory: str | None = None
    arguments: dict[str, Any] | None = None


@dataclass(frozen=True)
class Matrix:
    """What a device table asks of every job beside its time."""

    photos: np.ndarray | None = field(default=None, compare=False)
    """(count, 3, size, size) uint8 RGB to draw, for generators of images."""
    count: int = 8
    """Number of noise vectors to draw, for generators of noise."""


@dataclass(frozen=True)
class Plan:
    """The options of `benchmark` that apply to every model."""

    size: int
    threads: int
    runtimes: Sequence[str]
    precisions: Sequence[str]
    layers: bool
    origin: Origin = Origin()
    matrix: Matrix | None = None
    """None for times alone, where a model that does not run is an error."""


@dataclass(frozen=True)
class Job:
    """One candidate, as sent to its own process."""

    model: str
    runtime: str
    precision: str
    plan: Plan
    file: str
    """The path of an exported file; for torch, MODEL itself."""
    macs: int | None
    size_bytes: int | None
    problem: str = ""
    """Why it cannot be measured; empty where it can."""


Report = Callable[[], dict[str, Any]]


def load(job: Job) -> tuple[Callable[[], Any], Report]:
    """Return the call to time and the function that reports afterwards, in the job's process."""
    torch.set_num_threads(job.plan.threads)
    return _load_file(job) if OFFERS[job.runtime].write else _load_torch(job)


def _load_file(job: Job) -> tuple[Callable[[], Any], Report]:
    """Load an exported file."""
    precision = "bf16" if job.precision.endswith("bf16") else "f32"
    profile = job.plan.layers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KernelWarning)  # the report names these layers
        warnings.simplefilter("ignore", ForeignFileWarning)  # said where the jobs were made
        opened = open_runtime(
            job.file, job.runtime, job.plan.threads, precision=precision, profile=profile
        )
    inputs = dummy_arrays(opened.contract, opened.contract.size or job.plan.size)

    def report() -> dict[str, Any]:
        summary: dict[str, Any] = {}
        if job.runtime == "openvino" or (profile and job.runtime not in AT_ONE_SIZE):
            layers = layer_times(opened.native) if profile else []
            summary["float_layers"] = float_kernels(opened.native, layers)
            summary |= {"layers": layers} if profile else {}
        generator = ExportedGenerator(opened, job.model)
        return summary | _matrix_report(job, opened, generator, opened.contract)

    return lambda: opened(*inputs), report


def _load_torch(job: Job) -> tuple[Callable[[], Any], Report]:
    """Load a generator in torch."""
    module = _resolved(job.file, job.plan.origin)
    contract = infer_spec(module).contract
    inputs = dummy_inputs(contract, job.plan.size)
    function: Any = torch.compile(module) if job.runtime == "torch.compile" else module

    def infer() -> Any:
        with torch.inference_mode():
            return function(*inputs)

    return infer, lambda: _matrix_report(job, module, function, contract)


def _matrix_report(
    job: Job, native: Any, generator: nn.Module, contract: InputContract
) -> dict[str, Any]:
    """Return the layers in int8 and in float, and the images drawn; nothing without a matrix."""
    matrix = job.plan.matrix
    if matrix is None:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # opening the file has said it already
        in_int8, in_float = OFFERS[job.runtime].layers(job.file, native)
    return {
        "int8_layers": in_int8,
        "float_layers": in_float,
        "images": drawn_images(generator, contract, matrix.photos, matrix.count),
    }


def generator_jobs(model: str, plan: Plan, folder: Path) -> list[Job]:
    """Return the jobs of a torch generator, exported for each runtime that needs a file."""
    module = _resolved(model, plan.origin)
    macs = count(module, dummy_inputs(infer_spec(module).contract, plan.size)).macs
    weights = plan.origin.weights
    file = model_file(model) or (Path(weights) if weights else None)
    jobs, quantized = [], is_quantized(module)
    for runtime in plan.runtimes:
        for precision in plan.precisions:
            offer = OFFERS[runtime]
            if not _offers(offer, precision, quantized):
                continue
            path, size, problem = model, file.stat().st_size if file else None, ""
            if offer.write is not None:
                try:
                    path = str(offer.write(module, precision, folder, plan.size))
                    size = _size_of(Path(path))
                except UserError as error:
                    if plan.matrix is None:
                        raise
                    size, problem = None, str(error)
            jobs.append(Job(model, runtime, precision, plan, path, macs, size, problem))
    return jobs


def exported_jobs(model: str, plan: Plan, folder: Path) -> list[Job]:
    """Return the jobs of an exported file, as it is, in every runtime that suits it.

    A .pte or .tflite has a single runtime, which need not be asked for.
    """
    jobs = []
    default = DEFAULTS[Path(model).suffix.lower()]
    alone = (default,) if default in AT_ONE_SIZE else ()
    for runtime in alone or plan.runtimes:
        offer = OFFERS[runtime]
        if Path(model).suffix.lower() not in offer.reads:
            continue
        opened = open_runtime(model, runtime, 1)
        if opened.contract.size:
            opened.contract.check_side(plan.size)
        form = opened.metadata.get("form", FLOAT)
        if form not in (FLOAT, *offer.forms):
            continue
        per_pixel = opened.metadata.get("macs_per_pixel", 0)
        positions = plan.size if opened.contract.signal else plan.size**2
        macs = int(opened.metadata.get("macs", per_pixel * positions)) or None
        for precision in plan.precisions:
            int8 = precision.startswith("int8")
            if int8 == (form != FLOAT) and _offers(offer, precision, True):
                size = opened.size_bytes
                jobs.append(Job(model, runtime, precision, plan, model, macs, size))
    return jobs


def ceiling_jobs(plan: Plan, folder: Path) -> list[Job]:
    """Return jobs that measure the machine's limit in OpenVINO, with wide convolutions alone."""
    net = _ceiling()
    inputs = (torch.rand(1, CEILING_CHANNELS, CEILING_SIZE, CEILING_SIZE) * 2 - 1,)
    prepared = prepare(net, inputs)
    calibrate(prepared, [inputs])
    student = extract(prepared)
    attach_spec(student, spec_of(net))
    macs = count(net, inputs).macs
    alone = Plan(CEILING_SIZE, plan.threads, ("openvino",), ("f32", "int8"), False)
    return [
        Job(CEILING, "openvino", precision, alone, str(path), macs, None)
        for precision, quantization in (("f32", "none"), ("int8", "qdq"))
        for path in [write_for(student, "openvino", quantization, folder)]
    ]


def _ceiling() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    layers = [
        nn.Conv2d(CEILING_CHANNELS, CEILING_CHANNELS, 3, padding=1) for _ in range(CEILING_LAYERS)
    ]
    for layer in layers:
        layer.weight.data.normal_(std=0.03, generator=generator)
    net = nn.Sequential(*(step for layer in layers for step in (layer, nn.ReLU()))).eval()
    net.contract = InputContract(channels=CEILING_CHANNELS)  # pyright: ignore
    return net


def _offers(offer: Offer, precision: str, quantized: bool) -> bool:
    """Return whether a runtime offers a precision for this network."""
    return precision in offer.precisions and (quantized or not precision.startswith("int8"))


def _size_of(file: Path) -> int:
    """Return the bytes of an exported file, with those of the weights beside an .xml."""
    beside = file.with_suffix(".bin")
    weights = beside.stat().st_size if file.suffix == ".xml" and beside.is_file() else 0
    return file.stat().st_size + weights


def _resolved(model: str, origin: Origin) -> nn.Module:
    return resolve_model(model, origin.weights, "cpu", origin.factory, origin.arguments)
