"""The commands that need a runtime: export and benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal


def export(
    model: str,
    /,
    *,
    output: Path,
    format: Literal["onnx", "openvino"] | None = None,
    form: Literal["float", "qdq", "integer"] | None = None,
    opset: int = 17,
    size: int = 64,
    weights: Path | None = None,
    generator: str | None = None,
) -> dict[str, Any]:
    """Write a generator as ONNX or OpenVINO IR, in int8 where it is trained so, after a check.

    For example:
        gan-slimming export runs/hayao --format openvino --output hayao.xml

    Args:
        model: A run folder, its generator.safetensors, NAME:WEIGHTS, package.module:factory, or a
            registered NAME alone (random weights).
        output: The file, .onnx or .xml (its weights go into the .bin beside it).
        format: onnx or openvino; without it the file's name decides.
        form: qdq, which OpenVINO runs in int8; integer, which ONNX Runtime runs in int8; or float.
            Without it qdq for a quantised generator, else float.
        opset: ONNX opset, 17 to 21.
        size: Height and width in pixels of the picture that the check is made with; the file takes
            any size.
        weights: Weights for a NAME or package.module:factory, instead of :WEIGHTS.
        generator: package.module:factory of a saved generator of your own; a file alone never
            makes anything be imported.
    """
    from gan_slimming.workflows.export import export as run

    return run(
        model,
        output,
        format=format,
        form=form,
        opset=opset,
        size=size,
        weights=weights,
        factory=generator,
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
    weights: Path | None = None,
    generator: str | None = None,
) -> dict[str, Any]:
    """Time models in torch, ONNX Runtime and OpenVINO, side by side.

    For example:
        gan-slimming benchmark cartoongan:Hayao.pth runs/hayao --runtimes torch,openvino

    Args:
        models: Run folders, saved generators, NAME:WEIGHTS, exported .onnx and .xml files.
        size: Height and width of the picture in pixels; the batch is one.
        threads: CPU threads of every candidate; all cores without it.
        runtimes: Of torch, torch.compile, onnxruntime and openvino, between commas.
        precisions: Of f32, bf16 (OpenVINO only) and int8 (quantised generators only), between
            commas.
        rounds: Turns of each candidate, three pictures a turn, interleaved with the others'.
        layers: Also the time of each layer, where the runtime is OpenVINO.
        weights: Weights for a NAME or package.module:factory, instead of :WEIGHTS.
        generator: package.module:factory of saved generators of your own; a file alone never
            makes anything be imported.
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
        weights=weights,
        factory=generator,
    )
    print_table(report)
    return report
