"""The commands that need a runtime: export, benchmark and web."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gan_slimming.cli.source import Source, options


def export(
    model: str,
    /,
    *,
    output: Path,
    format: Literal["onnx", "openvino", "executorch", "litert", "coreml"] | None = None,
    quantization: Literal["qdq", "integer", "none"] | None = None,
    opset: int | None = None,
    size: int | None = None,
    fixed_size: bool = False,
    cpus: Literal["all", "own"] = "all",
    overwrite: bool = False,
    source: Source | None = None,
) -> dict[str, Any]:
    """Write a generator as a checked file of a runtime, in int8 if trained so.

    For example:
        gan-slimming export runs/hayao --format openvino --output hayao.xml

    Args:
        model: A run folder, such as runs/hayao; its generator.safetensors; a shipped model, such as
            vintage; NAME:WEIGHTS, such as cartoongan:Hayao.pth; package.module:factory; or a NAME
            alone, with random weights.
        output: The exported file, such as hayao.onnx, hayao.pte, hayao.tflite, hayao.mlpackage or
            hayao.xml (a .bin beside it holds its weights).
        format: onnx, openvino, executorch, litert or coreml. Default: by the ending of --output.
        quantization: integer, for int8 in ONNX Runtime; qdq, for int8 elsewhere; none,
            for float. Default: qdq for a quantised generator, else none.
        opset: Version of the ONNX operator set, 17 to 21. Without effect on other formats. Default:
            17, or 21 for weights of at most 4 bits, which it stores in half a byte.
        size: Height and width in pixels of the image used for the check, and of the images of a
            file of a single size. Default: the run's size for the latter, else 64.
        fixed_size: Write a file that takes images of a single size, as some runtimes need, and as
            .pte, .tflite and .mlpackage always do. Without it the file takes every size that the
            generator takes and that can be traced.
        cpus: Kinds of CPU on which OpenVINO's int8 kernels are checked: all kinds that this CPU can
            act as (some seconds each), or only its own.
        overwrite: Replace the file, and the .bin beside an .xml, if they exist.
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
        overwrite=overwrite,
        fixed_size=fixed_size,
        **options(source),
    )


def benchmark(
    models: list[str],
    /,
    *,
    size: int = 256,
    threads: int | None = None,
    runtimes: str | None = None,
    precisions: str = "f32,int8",
    rounds: int = 10,
    layers: bool = False,
    matrix: bool = False,
    data: Path | None = None,
    count: int = 8,
    reference: str | None = None,
    output: Path | None = None,
    overwrite: bool = False,
    source: Source | None = None,
) -> dict[str, Any]:
    """Time models in torch, ONNX Runtime, OpenVINO, ExecuTorch and LiteRT, side by side.

    For example:
        gan-slimming benchmark cartoongan:Hayao.pth runs/hayao --runtimes torch,openvino
        gan-slimming benchmark runs/hayao peer.onnx --matrix --data photos/ --output table.md

    Args:
        models: Run folders, saved generators, NAME:WEIGHTS, or exported .onnx, .xml, .pte
            and .tflite files, such as runs/hayao hayao.xml.
        size: Height and width of the input image in pixels; the batch is one image. Without effect
            where the generator takes noise.
        threads: Number of CPU threads of each model, such as 2. Default: all cores.
        runtimes: One or more of torch, torch.compile, onnxruntime, openvino, executorch and litert,
            separated by commas. Default: torch,onnxruntime,openvino, and a .pte's or .tflite's own;
            with --matrix, all that are installed.
        precisions: One or more of f32, bf16, int8 and int8-bf16 (int8, with the float layers in
            bf16), separated by commas. bf16 is for OpenVINO, int8 for quantised generators.
        rounds: Number of turns of each model, three images a turn, alternating with the others.
        layers: Time each layer, too, in OpenVINO and ONNX Runtime.
        matrix: Make a device table: time, peak memory, bytes, layers in int8 and in float, and the
            quality of the images that each runtime draws. What does not run gets a row with the
            reason.
        data: Folder of photos for the quality, such as photos/, with --matrix. Generators of noise
            need none.
        count: Number of photos or noise vectors for the quality.
        reference: MODEL whose images in torch the others are compared with, such as runs/hayao for
            files exported from it. Default: each generator's own images in torch.
        output: File of the device table, such as table.md; .md, .html or .json.
        overwrite: Replace that file if it exists.
    """
    from gan_slimming.workflows.benchmark import benchmark as run
    from gan_slimming.workflows.benchmark import print_matrix, print_table

    report = run(
        models,
        size=size,
        threads=threads,
        runtimes=runtimes.split(",") if runtimes else None,
        precisions=precisions.split(","),
        rounds=rounds,
        layers=layers,
        matrix=matrix,
        data=data,
        count=count,
        reference=reference,
        output=output,
        overwrite=overwrite,
        **options(source),
    )
    (print_matrix if matrix else print_table)(report)
    return report


def web(
    model: str,
    /,
    *,
    output: Path,
    teacher: str | None = None,
    title: str | None = None,
    size: int = 512,
    runtime_files: Path | None = None,
    serve: bool = False,
    port: int = 8000,
    overwrite: bool = False,
    source: Source | None = None,
) -> dict[str, Any]:
    """Write a page that runs a generator in the browser: on photos, the webcam, or noise.

    For example:
        gan-slimming web runs/hayao --teacher cartoongan:Hayao.pth --output page/ --serve

    Args:
        model: A run folder, such as runs/hayao; its generator.safetensors; a shipped model, such as
            cartoon-hayao; an exported .onnx; NAME:WEIGHTS, such as cartoongan:Hayao.pth;
            package.module:factory; or a NAME alone, with random weights.
        output: Folder to create for the page, such as page/. Any static web server can serve it.
        teacher: MODEL to compare with, such as cartoongan:Hayao.pth. The browser loads it on
            demand. Default: none.
        title: Heading of the page, such as 'Hayao'. Default: the name of the model.
        size: Longest side in pixels to which the page scales photos at first. The page has a choice
            of others.
        runtime_files: Folder with the files of onnxruntime-web, such as
            node_modules/onnxruntime-web/dist. Default: its package is downloaded from npm, once.
        serve: Serve the page on this machine alone, until Ctrl-C, to look at it.
        port: Port of --serve.
        overwrite: Replace the page in --output. Other files in the folder stay.
    """
    from gan_slimming.cli.progress import byte_bar
    from gan_slimming.workflows.web import web as run

    with byte_bar("onnxruntime-web") as progress:
        return run(
            model,
            output,
            teacher=teacher,
            title=title,
            size=size,
            runtime=runtime_files,
            serve=serve,
            port=port,
            overwrite=overwrite,
            progress=progress,
            **options(source),
        )
