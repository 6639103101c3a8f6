"""The commands that need a runtime: export and benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gan_slimming.cli.source import Source, options


def export(
    model: str,
    /,
    *,
    output: Path,
    format: Literal["onnx", "openvino"] | None = None,
    quantization: Literal["qdq", "integer", "none"] | None = None,
    opset: int = 17,
    size: int = 64,
    cpus: Literal["all", "own"] = "all",
    source: Source | None = None,
) -> dict[str, Any]:
    """Write a generator as ONNX or OpenVINO IR, in int8 where it is trained so, after a check.

    For example:
        gan-slimming export runs/hayao --format openvino --output hayao.xml

    Args:
        model: A run folder, its generator.safetensors, NAME:WEIGHTS, package.module:factory, or a
            registered NAME alone (random weights).
        output: The file, .onnx or .xml (its weights go into the .bin beside it).
        format: onnx or openvino; without it the file's name decides.
        quantization: qdq, which OpenVINO runs in int8; integer, which ONNX Runtime runs in int8; or
            none for float. Without it qdq for a quantised generator, else none.
        opset: ONNX opset, 17 to 21.
        size: Height and width in pixels of the image that the check is made with; the file takes
            any size.
        cpus: Kinds of CPUs that OpenVINO's int8 kernels are checked on: all that this CPU can stand
            for (some seconds each), or its own alone.
    """
    from gan_slimming.export.export_model import export_model as run

    return run(
        model,
        output,
        format=format,
        quantization=quantization,
        opset=opset,
        size=size,
        cpus=cpus,
        **options(source),
    )


def benchmark(
    models: list[str],
    /,
    *,
    size: int = 256,
    threads: int | None = None,
    runtimes: str = "torch,onnxruntime,openvino",
    precisions: str = "f32,int8",
    rounds: int = 10,
    layers: bool = False,
    source: Source | None = None,
) -> dict[str, Any]:
    """Time models in torch, ONNX Runtime and OpenVINO, side by side.

    For example:
        gan-slimming benchmark cartoongan:Hayao.pth runs/hayao --runtimes torch,openvino

    Args:
        models: Run folders, saved generators, NAME:WEIGHTS, exported .onnx and .xml files.
        size: Height and width of the image in pixels, where it takes one; batch one.
        threads: CPU threads of every candidate; all cores without it.
        runtimes: Of torch, torch.compile, onnxruntime and openvino, between commas.
        precisions: Of f32, bf16, int8 and int8-bf16 (int8, the float rest in bf16), between
            commas; bf16 in OpenVINO, int8 of quantised generators only.
        rounds: Turns of each candidate, three images a turn, interleaved with the others'.
        layers: Also the time of each layer, in OpenVINO and ONNX Runtime.
    """
    from gan_slimming.workflows.benchmark import benchmark as run
    from gan_slimming.workflows.benchmark import print_table

    report = run(
        models,
        size=size,
        threads=threads,
        runtimes=runtimes.split(","),
        precisions=precisions.split(","),
        rounds=rounds,
        layers=layers,
        **options(source),
    )
    print_table(report)
    return report
