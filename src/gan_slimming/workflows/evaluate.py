"""evaluate: compare models with their teacher, with real images, and on a task."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch import nn

from gan_slimming.config import WeightsFile, check_numbers
from gan_slimming.data.dataset import Dataset, check_dataset
from gan_slimming.errors import UserError
from gan_slimming.evaluation.choice import EvaluationWarning, Given
from gan_slimming.evaluation.contest import Contest, Work, open_contest
from gan_slimming.evaluation.costs import latencies
from gan_slimming.evaluation.figures import rows_of
from gan_slimming.evaluation.images import open_images
from gan_slimming.evaluation.results import as_table, check_output, write_results
from gan_slimming.evaluation.subjects import Origin, open_subject
from gan_slimming.evaluation.tools import TaskNetworks
from gan_slimming.serialization.provenance import environment

OnProgress = Callable[[int, int], None]
"""Called with (images done, total images)."""
Model = str | Path | nn.Module


def evaluate(
    models: Model | Sequence[Model],
    data: str | Path | Dataset | None = None,
    *,
    teacher: Model | None = None,
    targets: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    target_class: str | None = None,
    class_labels: str | Path | None = None,
    segmenter: str | None = None,
    labels: str | Path | None = None,
    inception: str | Path | None = None,
    classifier: str | Path | None = None,
    size: int | None = None,
    count: int | None = None,
    seed: int = 0,
    split: str = "all",
    layers: bool = False,
    latency: bool = False,
    output: str | Path | None = None,
    overwrite: bool = False,
    cache: bool = True,
    workers: int = 2,
    batch_size: int = 32,
    device: str = "auto",
    runtime: str | None = None,
    threads: int | None = None,
    weights: str | Path | WeightsFile | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Judge generators, exported files and folders of images; see docs/evaluate.md.

    Outputs are rounded to 8 bits first, so that a model and a folder of its images get the same
    figures. All models are judged on the same inputs, in one pass of bounded memory.

    Args:
        models: MODELs as for resolve_model, exported files, generators, or folders of images paired
            with `data` by their paths without suffix.
        data: folder of input images, a CSV file that names them and further inputs, a video, or a
            map-style dataset of inputs; None for noise, or if only folders are judged.
        teacher: a MODEL or a folder of its images; None takes the teacher of each run folder.
        targets: folder of real images from the target domain, for metrics between sets such as fid.
        metrics: names of metrics.catalogue.METRICS; None takes all available default ones.
        target_class, class_labels: for class_rate: a class by name or number, and a file of names.
        segmenter, labels: for mean_iou: package.module:factory[:WEIGHTS], and a folder of label
            maps paired with `data`.
        inception: file of FID's Inception network; None searches for it.
        classifier: weights of a classifier of CIFAR-10, for classifier_score and
            frechet_classifier.
        size: side in pixels to which the central square of each input is resized; None keeps it.
        count, seed: number and seed of noise vectors, as for `sample`; the seed is also that of
            intervals.
        split: 'all', or 'held' for the images of `data` that the run folder's training held out.
        layers, latency: whether to add the cost of each layer, and the time of one image.
        output, overwrite: a .json, .md or .csv file to write, and whether it may be replaced.
        cache: whether to keep the features of image files for later evaluations.
        workers, batch_size: decoding threads; largest number of images in a batch.
        device, runtime, threads, weights, factory, arguments: as for translate; weights and
            arguments are for names, also beside saved generators.
        on_progress: called with (done, total); None shows a bar on a terminal.

    Returns:
        results (rows of model, metric, value, low, high, images, direction, unit, protocol, and
        spread), models (model, teacher, verdict and costs), images, skipped, protocol,
        environment, seconds, output.
    Raises:
        NotWritten: the output cannot be written; the error holds what would have been returned.
        UserError: a mistake that the user can correct, in one line.
    """
    started = time.monotonic()
    file = check_output(output, overwrite)
    if split not in ("all", "held"):
        raise UserError(f"split must be all or held, got {split!r}")
    _check_used(labels, segmenter, "--segmenter, which finds areas for mean_iou")
    _check_used(segmenter, labels, "--labels, the maps for mean_iou")
    _check_used(class_labels, target_class, "--class, one of its names")
    check_numbers(
        workers=workers, batch_size=batch_size, size=size, count=count, seed=seed, threads=threads
    )
    data = Path(data) if isinstance(data, str) else data
    if data is not None and not isinstance(data, Path):
        check_dataset(data)
    if not isinstance(models, str | Path | nn.Module | Sequence):
        raise UserError(
            f"models must be run folders, files or modules; got {type(models).__name__}: for what "
            "compress returned, give its run folder, or its .generator and a teacher"
        )
    listed = [models] if isinstance(models, str | Path | nn.Module) else list(models)
    origin = Origin(device, runtime, threads, weights, factory, arguments)
    origin = origin.among([*listed, teacher])
    tasks = TaskNetworks(
        target_class,
        _path(class_labels),
        segmenter,
        _path(inception),
        _path(classifier),
        download=metrics is not None,
    )
    given = Given(
        data if isinstance(data, Path) else None,
        data if isinstance(data, Dataset) else None,
        None if targets is None else open_images(targets),
        None if labels is None else open_images(labels),
        None if teacher is None else open_subject(teacher, origin),
        tasks, size, count, seed, split,
    )  # fmt: skip
    contest = open_contest(listed, metrics, given, origin)
    work = Work(workers, batch_size, cache)
    with _progress(contest.steps, on_progress) as advance:
        measured = contest.measure(work, advance)
    told = contest.told(layers)
    if latency:
        spent = _latencies(contest, origin)
        told = [row | times for row, times in zip(told, spent, strict=True)]
    report = {
        "results": [r for c in contest.contestants for r in rows_of(c, contest.metrics, measured)],
        "models": told,
        "images": measured.images,
        "skipped": [{"image": name, "reason": reason} for name, reason in measured.skipped],
        "protocol": measured.protocol(),
        "environment": environment(),
        "seconds": round(time.monotonic() - started, 1),
        "output": str(file) if file else None,
    }
    if file is not None:
        write_results(file, report)
    return report


def _check_used(given: object, needed: object, other: str) -> None:
    """Raise UserError for an argument without the other one that it is for."""
    if given is not None and needed is None:
        raise UserError(f"{given} has no use without {other}")


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def _latencies(contest: Contest, origin: Origin) -> list[dict[str, Any]]:
    """Return the latencies; none, with a warning, where they fail: the figures are not lost."""
    try:
        return latencies(contest.subjects, contest.items, origin)
    except UserError as error:
        text = f"latency is left out: {error}"
        warnings.warn(text, EvaluationWarning, stacklevel=3)
        return [{"latency_ms": None, "latency_spread_ms": None} for _ in contest.subjects]


@contextmanager
def _progress(total: int, on_progress: OnProgress | None) -> Iterator[Callable[[int], None]]:
    """Show a bar with the remaining time on stderr if that is a terminal.

    Yields:
        A function that takes the number of images just processed.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("judging"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    done = 0
    quiet = not console.is_terminal or on_progress is not None
    with Progress(*columns, console=console, disable=quiet, transient=True) as bar:
        task = bar.add_task("", total=total)

        def advance(images: int) -> None:
            nonlocal done
            done += images
            bar.update(task, completed=done)
            if on_progress is not None:
                on_progress(done, total)

        yield advance


def print_table(report: dict[str, Any]) -> None:
    """Print the results as a table on stderr, and each model's verdict below it."""
    console = Console(stderr=True)
    width = max(110, console.width) if not console.is_terminal else None
    console = Console(stderr=True, width=width)
    console.print(as_table(report))
    for model in report["models"]:
        if model["verdict"]:
            console.print(Text(f"{model['model']}: {model['verdict']}."))
