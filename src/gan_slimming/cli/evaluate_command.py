"""The command evaluate, which compares models with their teacher and with real images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gan_slimming.cli.source import Source, data_or_dataset, options


def evaluate(
    models: list[str],
    /,
    *,
    data: Path | None = None,
    dataset: str | None = None,
    teacher: str | None = None,
    targets: Path | None = None,
    metrics: str | None = None,
    target_class: str | None = None,
    class_labels: Path | None = None,
    segmenter: str | None = None,
    labels: Path | None = None,
    inception: Path | None = None,
    classifier: Path | None = None,
    size: int | None = None,
    count: int | None = None,
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
    """Compare models with their teacher, with real images, or on a task.

    For example:
        gan-slimming evaluate runs/hayao --data photos/
        gan-slimming evaluate runs/zebra somebodys-zebras/ --data horses/
            --teacher cyclegan:G_A.pth --targets zebras/ --class zebra --output table.md

    Args:
        models: Run folders, saved generators, NAME:WEIGHTS, package.module:factory, exported
            .onnx, .xml, .pte or .tflite files, or folders of images. Such a folder holds another
            model's outputs for --data, under the same names.
        data: Folder of input images or signals, a CSV file as for compress, or a video. Generators
            of noise need none.
        dataset: Your own map-style dataset in place of --data, as package.module:factory, such as
            mine.data:faces.
        teacher: The original model to compare with, as a MODEL or a folder of its images. By
            default, the teacher that a run folder was trained from.
        targets: Folder of real images of what the model should generate, such as zebras/, for
            FID, KID, precision and recall.
        metrics: Names between commas, such as lpips,psnr,fid. With a teacher: lpips, lpips_alex,
            lpips_vgg and dists (perceptual), psnr (in dB), ssim, ms_ssim and l1 (pixels), flip
            (visible difference), colour (of areas), dots (added dot patterns), flicker and cvvdp
            (of video), spectral (of waveforms). With --targets: fid, kid, precision, recall, and
            frechet_squeezenet, kid_squeezenet, precision_squeezenet, recall_squeezenet (on
            SqueezeNet). With neither: inception_score (clear and varied classes). With
            --classifier: classifier_score and, with --targets, frechet_classifier (on a classifier
            of CIFAR-10). On a task: class_rate (share of --class) and mean_iou (overlap with
            --labels). By default, all usual ones that have a reference.
        target_class: Class that images should show, by name or ImageNet number, such as zebra or
            340; --class for short. class_rate is the share of images that SqueezeNet recognises.
        class_labels: File of class names, one per line. By default, the one beside SqueezeNet's
            weights.
        segmenter: Segmentation network for mean_iou, as package.module:factory[:WEIGHTS].
        labels: Folder of label maps for mean_iou, named like the images of --data.
        inception: Weights of FID's network, pt_inception-2015-12-05-6726825d.pth. By default they
            are searched for, and downloaded if --metrics names a metric that needs them.
        classifier: Weights of a classifier of CIFAR-10, such as classifier.safetensors, for
            classifier_score and frechet_classifier. benchmarks/cifar10_classifier.py makes them.
        size: Side in pixels, such as 256, to which the central square of each input is resized.
            By default, each input keeps its size. Of signals, the frames of each window.
        count: Number of images from a generator of noise. Default: 10000.
        seed: Random seed of noise and intervals.
        split: all, or held for only those images of --data that the run's training held out.
        layers: Add the cost of each layer.
        latency: Add the time of one image in milliseconds.
        output: File for the results, such as table.md; .md, .csv or .json.
        overwrite: Replace an existing output file.
        no_cache: Neither use nor keep cached features of image files.
        workers: Number of threads that decode images.
        batch_size: Largest number of images in a batch; lower it if memory runs out.
        device: auto, cpu, cuda or mps.
        runtime: torch, onnxruntime or openvino, as for translate.
        threads: CPU threads of onnxruntime and openvino. By default, all cores.
    """
    from gan_slimming.workflows.evaluate import evaluate as run
    from gan_slimming.workflows.evaluate import print_table

    report = run(
        models,
        data_or_dataset(data, dataset),
        teacher=teacher,
        targets=targets,
        metrics=[name.strip() for name in metrics.split(",")] if metrics else None,
        target_class=target_class,
        class_labels=class_labels,
        segmenter=segmenter,
        labels=labels,
        inception=inception,
        classifier=classifier,
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
