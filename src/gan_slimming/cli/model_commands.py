"""The commands that look at a generator or use it: inspect, translate, sample and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gan_slimming.cli.source import Source, options
from gan_slimming.errors import UserError


def inspect(
    model: str,
    /,
    *,
    size: int = 256,
    source: Source | None = None,
    protect: list[str] | None = None,
) -> dict[str, Any]:
    """Show a generator's layers, channel groups, multiply-accumulates, parameters and bytes.

    For example:
        gan-slimming inspect runs/hayao
        gan-slimming inspect cartoongan:Hayao_net_G_float.pth --size 512

    Args:
        model: A run folder, its generator.safetensors, NAME:WEIGHTS, package.module:factory, or a
            registered NAME alone (random weights).
        size: Height and width in pixels of the image for which work is counted; of no meaning
            where the generator takes noise.
        protect: Modules whose channels stay, as shell patterns.
    """
    from gan_slimming.workflows.inspect import inspect as report_on
    from gan_slimming.workflows.inspect import print_report

    report = report_on(model, size, protect=protect or [], **options(source))
    print_report(report)
    return report


def translate(
    model: str,
    inputs: list[str],
    /,
    *,
    output: Path,
    match_colours: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    runtime: Literal["torch", "onnxruntime", "openvino"] | None = None,
    threads: int | None = None,
    source: Source | None = None,
) -> dict[str, Any]:
    """Send images and folders of images through a generator, each at its own size.

    For example:
        gan-slimming translate runs/hayao photos/ holiday.jpg --output cartoons/

    Args:
        model: A run folder, its generator.safetensors, NAME:WEIGHTS, package.module:factory, a
            registered NAME alone (random weights), or an exported .onnx or .xml.
        inputs: Images, and folders of images at any depth.
        output: Folder for the results, which keep names and sub-folders; for a single image
            also a file name.
        match_colours: Give each result the colours of its input (CartoonGAN's post-processing).
        overwrite: Replace results that exist. Inputs are never replaced.
        device: auto, cpu, cuda or mps.
        runtime: torch, onnxruntime or openvino, the last two on the CPU, in int8 where the
            generator is quantised; without it torch, or what an exported file is for.
        threads: CPU threads of onnxruntime and openvino; all cores without it.
    """
    from gan_slimming.workflows.translate import translate as run

    return run(
        model,
        inputs,
        output,
        **options(source),
        device=device,
        runtime=runtime,
        threads=threads,
        match_colours=match_colours,
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
        model: A run folder, its generator.safetensors, NAME:WEIGHTS, package.module:factory, a
            registered NAME alone (random weights), or an exported .onnx or .xml.
        output: Image file that shows all of them in a grid.
        count: How many.
        seed: Seed of the noise; the same seed gives every model of one kind the same noise.
        truncation: Standard deviation of the noise; below 1 images are more typical and less
            varied.
        classes: Classes to draw in turn, between commas, such as 3,5; drawn at random without it.
        separate: Folder that also gets each image in a file of its own.
        overwrite: Replace images that exist.
        device: auto, cpu, cuda or mps.
        runtime: torch, onnxruntime or openvino, as for translate.
        threads: CPU threads of onnxruntime and openvino; all cores without it.
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
        overwrite=overwrite,
        device=device,
        runtime=runtime,
        threads=threads,
        **options(source),
    )


def report(runs: list[str], /, *, output: Path | None = None) -> dict[str, Any]:
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
    """
    from gan_slimming.workflows.report import report as write

    return write([Path(run) for run in runs], output)


def _whole_numbers(name: str, text: str | None) -> list[int]:
    """The numbers of '3,5'."""
    try:
        return [int(part) for part in (text or "").split(",") if text]
    except ValueError:
        raise UserError(f"{name} must be whole numbers such as 3,5; got {text}") from None
