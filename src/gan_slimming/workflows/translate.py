"""The command translate: images and videos of any size through any generator."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from gan_slimming.config import InputContract, WeightsFile, check_numbers
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.animation import ANIMATED_SUFFIXES, is_animation, translate_animation
from gan_slimming.data.colours import match_colours as match_colours_of
from gan_slimming.data.dataset import Dataset
from gan_slimming.data.deep_colour import DEEP_SUFFIXES
from gan_slimming.data.destinations import Job, plan
from gan_slimming.data.image_files import (
    DecodedImage,
    ImageError,
    read_image,
    write_image,
)
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.padding import run_padded
from gan_slimming.data.pipeline import overlapped
from gan_slimming.data.table_lines import check_columns
from gan_slimming.data.video import is_video, translate_video
from gan_slimming.data.waveform_files import WRITTEN, hold_signals, plan_waveforms
from gan_slimming.errors import UserError
from gan_slimming.export.placement import model_name, place
from gan_slimming.runtime.image_runner import ImageRunner
from gan_slimming.workflows.translate_dataset import translate_dataset
from gan_slimming.workflows.translate_signals import SignalRunner, translate_signals

NAMED = 3
"""Most failures named in the warning; the JSON lists all."""


Failures = list[dict[str, str]]
"""{path, reason} of each failed input."""


class ColourWarning(UserWarning):
    """A word on colours or depths that a result does not have as its input had."""


class TranslationWarning(UserWarning):
    """A warning that some inputs could not be translated."""


def translate(
    model: str | Path | nn.Module,
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    weights: str | Path | WeightsFile | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    device: str = "auto",
    runtime: str | None = None,
    threads: int | None = None,
    match_colours: bool = False,
    tile: int | None = None,
    dataset: Dataset | None = None,
    sample_rate: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Send images or signals through a generator, each at its own size, and write the results.

    An image is padded at the bottom and the right to a size that the generator takes, and its
    result is cropped. Results of super-resolution are `scale` times as large. Colour profiles are
    converted to sRGB; 16 bits, transparency, file names and sub-folders are kept. A waveform is
    written as .wav, and as .npy beside it. Inputs are never overwritten.

    Args:
        model: as for resolve_model, or a generator.
        inputs: images, videos, animated images, folders of images at any depth, and CSV files that
            name images and further inputs; signals, and folders of these, for a generator of
            waveforms. Files in `output` are skipped.
        output: a folder, created as needed; for a single image or video also a file name.
        weights, factory, arguments: as for resolve_model.
        device: auto, cpu, cuda or mps.
        runtime: torch, onnxruntime or openvino; None is torch, or the runtime of an exported file.
        threads: number of CPU threads of onnxruntime and openvino; None takes all cores.
        match_colours: whether to give each result the colours of its input (data.colours).
        tile: side in pixels of the tiles of images larger than that; None takes each image whole.
        dataset: a map-style dataset of the generator's inputs, in place of `inputs`.
        sample_rate: samples of a waveform a second; None takes the contract's.
        overwrite: whether to replace existing results; otherwise they are refused before any work.

    Returns:
        model, output, device, translated, frames (of videos and animations), failed (path and
        reason each), seconds.
    Raises:
        UserError: an input or output is wrong, or all inputs failed. Single failures are listed,
            with one TranslationWarning.
    """
    check_numbers(threads=threads, sample_rate=sample_rate)
    if (dataset is None) is (not inputs):
        raise UserError("name images or a --dataset to translate, one of them")
    target = Path(output)
    jobs: list[Job] = []
    if dataset is None and not hold_signals(inputs):
        jobs = plan(inputs, target, overwrite=overwrite)
    generator, device_used = place(model, device, runtime, threads, weights, factory, arguments)
    name, contract = model_name(generator.generator), generator.contract
    if contract.latent_size:
        raise UserError(f"{name} takes noise, not images; take gan-slimming sample")
    if (dataset is not None or contract.signal) and (match_colours or tile is not None):
        raise UserError("--match-colours and --tile are for image files; leave them out")
    if sample_rate is not None and not contract.signal:
        raise UserError(f"{name} makes images; leave out --sample-rate")
    started = time.monotonic()
    signals = SignalRunner(generator, device_used, sample_rate or contract.sample_rate)
    frames, failed = 0, []
    if dataset is not None:
        write = signals.write if contract.signal else partial(_write_item, generator, device_used)
        suffixes = WRITTEN if contract.signal else (".png",)
        count = translate_dataset(dataset, contract, target, suffixes, write, overwrite=overwrite)
    elif contract.signal:
        jobs = plan_waveforms(inputs, target, overwrite=overwrite)
        with _progress(len(jobs)) as advance:
            failed = translate_signals(signals, jobs, advance)
        _judge(failed, count := len(jobs), "signal")
    else:
        jobs = jobs or plan(inputs, target, overwrite=overwrite)
        _check_lines(jobs, contract, tile)
        frames, failed = _all(ImageRunner(generator, device_used, tile), jobs, match_colours)
        count = len(jobs)
    return {
        "model": name,
        "output": str(output),
        "device": str(device_used),
        "translated": count - len(failed),
        "frames": frames,
        "failed": failed,
        "seconds": round(time.monotonic() - started, 3),
    }


def _write_item(
    generator: GeneratorAdapter, device: torch.device, item: Inputs, target: Path
) -> None:
    """Write the image of an item of a dataset."""
    image, *others = (x[None].to(device) for x in item)
    write_image(target, run_padded(generator, image, *others)[0].cpu())


def _check_lines(jobs: Sequence[Job], contract: InputContract, tile: int | None) -> None:
    """Raise UserError where a CSV file lacks what the generator takes."""
    lines = [job.line for job in jobs if job.line is not None]
    for table in {id(line.table): line.table for line in lines}.values():
        check_columns(table, contract.extras)
    if lines and contract.extras and tile is not None:
        raise UserError("--tile cuts images alone, not what a CSV file adds; leave it out")


def _all(runner: ImageRunner, jobs: Sequence[Job], match: bool) -> tuple[int, Failures]:
    """Translate images, then videos; return the number of video frames and the failures."""
    alone = [job for job in jobs if job.line is None]
    videos = [job for job in alone if is_video(job.source) or _is_moving(job)]
    images = [job for job in jobs if job not in videos]
    with _progress(len(jobs)) as advance:
        failed = _images(runner, images, match, advance)
        frames, bad = _videos(runner, videos, match, advance)
    failed += bad
    _judge(failed, len(jobs))
    return frames, failed


def _is_moving(job: Job) -> bool:
    """Return whether an image has frames, and its result may have them."""
    return job.target.suffix.lower() in ANIMATED_SUFFIXES and is_animation(job.source)


def _images(runner: ImageRunner, jobs: Sequence[Job], match: bool, advance: Any) -> Failures:
    """Translate images, with decoding, running and encoding overlapped; return the failures."""
    profiles: Counter[str] = Counter()
    flattened: list[Path] = []

    extras = runner.generator.contract.extras

    def read(job: Job) -> tuple[DecodedImage, Inputs]:
        image = read_image(job.source)
        sides = (image.rgb.shape[1], image.rgb.shape[2])
        return image, () if job.line is None else job.line.others(extras, sides)

    def run(job: Job, found: tuple[DecodedImage, Inputs]) -> Tensor:
        return runner(found[0].rgb, job.source, found[1])

    def write(job: Job, found: tuple[DecodedImage, Inputs], result: Tensor) -> None:
        image = found[0]
        _write(job.target, image, result, match)
        if image.profile:
            profiles[image.profile] += 1
        if image.deep and job.target.suffix.lower() not in DEEP_SUFFIXES:
            flattened.append(job.target)

    failed: Failures = []
    for job, error in overlapped(jobs, read, run, write, ImageError):
        if isinstance(error, ImageError):
            failed.append({"path": str(job.source), "reason": error.reason})
        advance()
    _tell(profiles, flattened)
    order = {str(job.source): place for place, job in enumerate(jobs)}
    return sorted(failed, key=lambda row: order[row["path"]])


def _videos(
    runner: ImageRunner, jobs: Sequence[Job], match: bool, advance: Any
) -> tuple[int, Failures]:
    """Translate videos and animations one by one; return the number of frames and failures."""
    frames, failed = 0, []
    for job in jobs:

        def change(rgb: Tensor, source: Path = job.source) -> Tensor:
            result = runner(rgb, source)
            return match_colours_of(result, _as_large(rgb, result)) if match else result

        try:
            translate = translate_video if is_video(job.source) else translate_animation
            frames += translate(job.source, job.target, change)
        except ImageError as error:
            failed.append({"path": str(job.source), "reason": error.reason})
        advance()
    return frames, failed


def _write(target: Path, image: DecodedImage, result: Tensor, match: bool) -> None:
    photo, alpha = _as_large(image.rgb, result), image.alpha
    if alpha is not None:
        alpha = _as_large(alpha[None], result)[0]
    if match:
        result = match_colours_of(result, photo, alpha)
    deep = image.deep and target.suffix.lower() in DEEP_SUFFIXES
    if deep and image.grey and bool((result == result[:1]).all()):
        result = result[:1]
    write_image(target, result, alpha, deep=deep)


def _tell(profiles: Mapping[str, int], flattened: Sequence[Path]) -> None:
    """Warn in one line each of colour profiles that were converted, and of 16 bits that are 8."""
    if profiles:
        named = ", ".join(f"{name} ({count})" for name, count in sorted(profiles.items()))
        text = f"images with a colour profile were converted to sRGB, which results have: {named}"
        warnings.warn(text, ColourWarning, stacklevel=5)
    if flattened:
        text = (
            f"{len(flattened)} image(s) of more than 8 bits became 8 in {flattened[0]}; write .png "
            "or .tif to keep them"
        )
        warnings.warn(text, ColourWarning, stacklevel=5)


def _as_large(plane: Tensor, result: Tensor) -> Tensor:
    """Repeat pixels of (channels, height, width) up to the result's height and width."""
    scale = result.shape[-1] // plane.shape[-1]
    return plane.repeat_interleave(scale, -2).repeat_interleave(scale, -1)


def _judge(failed: Sequence[dict[str, str]], total: int, kind: str = "image") -> None:
    """Warn of failed inputs; raise UserError if all failed."""
    if not failed:
        return
    named = "; ".join(f"{f['path']}: {f['reason']}" for f in failed[:NAMED])
    more = f"; and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    if len(failed) == total:
        raise UserError(f"none of {total} {kind}(s) could be translated: {named}{more}")
    text = f"{len(failed)} of {total} {kind}s could not be translated: {named}{more}"
    warnings.warn(text, TranslationWarning, stacklevel=4)


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Show a bar with the time left on stderr, if stderr is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("translating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    quiet = not console.is_terminal
    with Progress(*columns, console=console, disable=quiet, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)
