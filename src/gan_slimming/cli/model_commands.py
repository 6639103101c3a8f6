"""The commands that show or run a generator: inspect, translate, sample and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gan_slimming.cli.source import Source, data_or_dataset, options
from gan_slimming.errors import UserError


def inspect(
    model: str,
    /,
    *,
    size: int = 256,
    source: Source | None = None,
    protect: list[str] | None = None,
    export: str | None = None,
) -> dict[str, Any]:
    """Show a generator's layers, channel groups, multiply-accumulates, parameters and bytes.

    For example:
        gan-slimming inspect runs/hayao
        gan-slimming inspect cartoongan:Hayao_net_G_float.pth --size 512

    Args:
        model: A run folder, such as runs/hayao; its generator.safetensors; a shipped model, such as
            vintage; NAME:WEIGHTS, such as cartoongan:Hayao.pth; package.module:factory; or a NAME
            alone, with random weights.
        size: Height and width in pixels of the image, or frames of the signal, for which
            multiply-accumulates are counted. Without effect where the generator takes noise.
        protect: Modules that keep all their channels, as shell patterns such as 'blocks.*.conv_2'.
            Default: none.
        export: Formats to try, such as onnx,openvino, as compress does before its first step.
            Default: none.
    """
    from gan_slimming.workflows.inspect import inspect as report_on
    from gan_slimming.workflows.inspect import print_report

    formats = export.split(",") if export else []
    report = report_on(model, size, protect=protect or [], exports=formats, **options(source))
    print_report(report)
    return report


def translate(
    model: str,
    inputs: list[str] | None = None,
    /,
    *,
    output: Path,
    dataset: str | None = None,
    match_colours: bool = False,
    tile: int | None = None,
    sample_rate: int | None = None,
    overwrite: bool = False,
    device: str = "auto",
    runtime: Literal["torch", "onnxruntime", "openvino"] | None = None,
    threads: int | None = None,
    source: Source | None = None,
) -> dict[str, Any]:
    """Send images, or signals, through a generator, each at its own size.

    For example:
        gan-slimming translate runs/hayao photos/ holiday.jpg --output cartoons/

    Args:
        model: A run folder, such as runs/hayao; its generator.safetensors; a shipped model, such as
            vintage; an exported .onnx, .xml, .pte or .tflite; NAME:WEIGHTS, such as
            cartoongan:Hayao.pth; package.module:factory; or a NAME alone, with random weights.
        inputs: Images, videos, animated GIF, WebP or PNG, folders of images at any depth, and CSV
            files as for compress, such as photos/ holiday.jpg. For a generator of waveforms,
            signals (.npy, .safetensors) and folders of these.
        output: Folder for the results, which keep their names and sub-folders. For a single image,
            video or waveform, also a file name.
        dataset: Your own map-style dataset in place of images, as package.module:factory, such as
            mine.data:faces. Results are called 00000.png and so on.
        match_colours: Give each result the colours of its input (CartoonGAN's post-processing).
        tile: Side in pixels of tiles in which larger images are computed, such as 512, to save
            memory; the result is that of the whole image. Generators that look at the whole image
            (InstanceNorm, attention) cannot be tiled. Default: each image whole.
        sample_rate: Samples a second of the .wav files that a generator of waveforms makes, such as
            24000. Default: its contract's, which is 22050 unless it was declared.
        overwrite: Replace results that exist. Inputs are never replaced.
        device: auto, cpu, cuda or mps; auto takes a GPU where there is one.
        runtime: torch, onnxruntime or openvino. The last two run on the CPU, in int8 if the
            generator is quantised. Default: torch, or the runtime of an exported file.
        threads: Number of CPU threads of onnxruntime and openvino, such as 2. Default: all cores.
    """
    from gan_slimming.workflows.translate import translate as run

    return run(
        model,
        inputs or [],
        output,
        dataset=data_or_dataset(None, dataset),
        **options(source),
        device=device,
        runtime=runtime,
        threads=threads,
        match_colours=match_colours,
        tile=tile,
        sample_rate=sample_rate,
        overwrite=overwrite,
    )


def sample(
    model: str,
    /,
    *,
    output: Path,
    count: int = 64,
    seed: int = 0,
    truncation: float = 1.0,
    classes: str | None = None,
    separate: Path | None = None,
    dataset: str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    runtime: Literal["torch", "onnxruntime", "openvino"] | None = None,
    threads: int | None = None,
    source: Source | None = None,
) -> dict[str, Any]:
    """Draw images from a generator that takes noise.

    For example:
        gan-slimming sample runs/sngan --count 64 --output grid.png

    Args:
        model: A run folder, such as runs/sngan; its generator.safetensors; an exported .onnx,
            .xml, .pte or .tflite; NAME:WEIGHTS, such as sngan:sngan.pth; package.module:factory;
            or a NAME alone, with random weights.
        output: Image file of the grid that shows all images, such as grid.png.
        count: Number of images.
        seed: Seed of the noise. With the same seed, models of one kind get the same noise.
        truncation: Standard deviation of the noise. Below 1, images are more typical and less
            varied.
        classes: Class numbers to draw in turn, separated by commas, such as 3,5. Default: at
            random.
        separate: Folder for each image in a file of its own, such as samples/. Default: the grid
            alone.
        dataset: Your own map-style dataset of noise in place of --seed, as package.module:factory,
            such as mine.data:latents; at most --count items are drawn.
        overwrite: Replace images that exist.
        device: auto, cpu, cuda or mps; auto takes a GPU where there is one.
        runtime: torch, onnxruntime or openvino. The last two run on the CPU, in int8 if the
            generator is quantised. Default: torch, or the runtime of an exported file.
        threads: Number of CPU threads of onnxruntime and openvino, such as 2. Default: all cores.
    """
    from gan_slimming.workflows.sample import sample as run

    return run(
        model,
        output,
        count=count,
        seed=seed,
        truncation=truncation,
        classes=_whole_numbers("classes", classes),
        separate=separate,
        dataset=data_or_dataset(None, dataset),
        overwrite=overwrite,
        device=device,
        runtime=runtime,
        threads=threads,
        **options(source),
    )


def report(
    runs: list[str], /, *, output: Path | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Show runs, finished or under way, as one page that works offline.

    One run: held-out images to compare, curves, channels, ranges, cost. Several: quality against
    cost, and the same images side by side.

    For example:
        gan-slimming report runs/hayao
        gan-slimming report runs/hayao-5 runs/hayao-10 --output pareto.html

    Args:
        runs: Folders that compress made.
        output: The page; report.html in the run folder without it, or comparison.html in the folder
            that holds several.
        overwrite: Replace the page if it exists. An earlier report in its default place is replaced
            anyway.
    """
    from gan_slimming.workflows.report import report as write

    return write([Path(run) for run in runs], output, overwrite=overwrite)


def _whole_numbers(name: str, text: str | None) -> list[int]:
    """Return the numbers in a text such as '3,5'."""
    try:
        return [int(part) for part in (text or "").split(",") if text]
    except ValueError:
        raise UserError(f"{name} must be whole numbers such as 3,5; got {text}") from None
