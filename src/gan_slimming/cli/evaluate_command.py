"""The command that judges models: evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gan_slimming.cli.source import Source, options


def evaluate(
    models: list[str],
    /,
    *,
    data: Path | None = None,
    teacher: str | None = None,
    targets: Path | None = None,
    metrics: str | None = None,
    target_class: str | None = None,
    class_labels: Path | None = None,
    segmenter: str | None = None,
    labels: Path | None = None,
    inception: Path | None = None,
    size: int | None = None,
    count: int = 10_000,
    seed: int = 0,
    split: Literal["all", "held"] = "all",
    layers: bool = False,
    latency: bool = False,
    output: Path | None = None,
    overwrite: bool = False,
    no_cache: bool = False,
    workers: int = 2,
    batch_size: int = 32,
    device: str = "auto",
    runtime: Literal["torch", "onnxruntime", "openvino"] | None = None,
    threads: int | None = None,
    source: Source | None = None,
) -> dict[str, Any]:
    """Judge models: how near to their teacher, to real images, and to their task.

    For example:
        gan-slimming evaluate runs/hayao --data photos/
        gan-slimming evaluate runs/zebra somebodys-zebras/ --data horses/
            --teacher cyclegan:G_A.pth --targets zebras/ --class zebra --output table.md

    Args:
        models: Run folders, saved generators, NAME:WEIGHTS, package.module:factory, exported .onnx
            and .xml files, and folders of images that another model made of --data, under the same
            names.
        data: Folder of input images, or a video; generators of noise need none.
        teacher: What models are compared with, a MODEL or a folder of its images. Without it, what
            a run folder was trained from.
        targets: Folder of real images of the outputs' kind, for FID, KID, precision and recall.
        metrics: Of lpips, lpips_alex, lpips_vgg, dists, psnr, ssim, ms_ssim, l1, flip, colour,
            dots, flicker, fid, kid, precision, recall, inception_score, frechet_squeezenet,
            kid_squeezenet, precision_squeezenet, recall_squeezenet, class_rate and mean_iou,
            between commas. Without it, all usual ones that what is given allows.
        target_class: Class, such as zebra or 340, that SqueezeNet should take images for; --class
            for short. class_rate is the share that it does.
        class_labels: File of class names, one a line; found beside SqueezeNet's weights without it.
        segmenter: Segmentation network as package.module:factory[:WEIGHTS], for mean_iou.
        labels: Folder of label maps, named like --data, for mean_iou.
        inception: File of FID's network, pt_inception-2015-12-05-6726825d.pth; without it looked
            for, and fetched if fid or the like is asked for.
        size: Pixels a side to which the central square of each input is resized first; without it
            each keeps its size.
        count: Images of a generator of noise.
        seed: Seed of the noise, and of what is drawn for intervals.
        split: all, or held for those images of --data that a run folder's training never saw.
        layers: Also the cost of each layer.
        latency: Also the time of one image.
        output: File for the table, .md, .csv or .json.
        overwrite: Replace that file.
        no_cache: Do not keep features of image files for the next time.
        workers: Threads that decode images.
        batch_size: Most images at once.
        device: auto, cpu, cuda or mps.
        runtime: torch, onnxruntime or openvino, as for translate.
        threads: CPU threads of onnxruntime and openvino; all cores without it.
    """
    from gan_slimming.workflows.evaluate import evaluate as run
    from gan_slimming.workflows.evaluate import print_table

    report = run(
        models,
        data,
        teacher=teacher,
        targets=targets,
        metrics=[name.strip() for name in metrics.split(",")] if metrics else None,
        target_class=target_class,
        class_labels=class_labels,
        segmenter=segmenter,
        labels=labels,
        inception=inception,
        size=size,
        count=count,
        seed=seed,
        split=split,
        layers=layers,
        latency=latency,
        output=output,
        overwrite=overwrite,
        cache=not no_cache,
        workers=workers,
        batch_size=batch_size,
        device=device,
        runtime=runtime,
        threads=threads,
        **options(source),
    )
    print_table(report)
    return report
