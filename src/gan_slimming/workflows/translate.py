"""translate: picture files in, picture files out, of any size, through any generator."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from gan_slimming.config import UserError
from gan_slimming.data import (
    SUFFIXES,
    PictureError,
    crop_back,
    list_pictures,
    pad_to_multiple,
    read_picture,
    write_picture,
)
from gan_slimming.data.colours import match_colours as match_colours_of
from gan_slimming.workflows.exported import ExportedGenerator, in_runtime, is_exported
from gan_slimming.workflows.models import CanonicalGenerator, choose_device, resolve_model

KEEPS_ALPHA = (".png", ".webp", ".tif", ".tiff")
NO_ALPHA = (".jpg", ".jpeg", ".bmp")
NAMED = 3
"""So many failures are named in the warning; the JSON has them all."""


class TranslationWarning(UserWarning):
    """Pictures were left out."""


@dataclass(frozen=True)
class Job:
    """One picture's way."""

    source: Path
    target: Path


def translate(
    model: str | Path | nn.Module,
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    weights: str | Path | None = None,
    factory: str | None = None,
    device: str = "auto",
    runtime: str | None = None,
    threads: int | None = None,
    match_colours: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Send pictures through a generator, each at its own size, and write them under `output`.

    A picture is padded at the bottom and the right to a size that the generator takes, and cut back
    afterwards. Transparency and file names stay; sub-folders too. An input is never overwritten.

    Args:
        model: as for resolve_model, or a generator itself.
        inputs: pictures, and folders of pictures at any depth; what lies in `output` is left out.
        output: a folder, made as needed; for a single picture also a file name.
        weights, factory: as for resolve_model.
        device: auto, cpu, cuda or mps.
        runtime: torch, onnxruntime or openvino; None is torch, or what an exported file is for.
        threads: CPU threads of onnxruntime and openvino; None takes all cores.
        match_colours: give each result the colours of its input (data.colours).
        overwrite: replace results that exist; otherwise they are refused before any work.

    Returns:
        model, output, device, translated, failed (path and reason each), seconds.
    Raises:
        UserError: a wrong input or output, or not one picture could be translated. Single bad
            pictures are counted and make one TranslationWarning.
    """
    jobs = plan(inputs, Path(output), overwrite=overwrite)
    elsewhere = is_exported(model) or runtime not in (None, "torch")
    place = torch.device("cpu") if elsewhere else choose_device(device)
    if not isinstance(model, nn.Module) and not is_exported(model):
        model = resolve_model(model, weights, place, factory)
    if elsewhere:
        model = in_runtime(model, runtime, threads)
    assert isinstance(model, nn.Module)
    generator = CanonicalGenerator(model.to(place).eval())
    started = time.monotonic()
    failed: list[dict[str, str]] = []
    with _progress(len(jobs)) as advance:
        for job in jobs:
            try:
                _translate_one(generator, job, place, match_colours)
            except PictureError as error:
                failed.append({"path": str(job.source), "reason": error.reason})
            advance()
    _judge(failed, len(jobs))
    return {
        "model": model_name(model),
        "output": str(output),
        "device": str(place),
        "translated": len(jobs) - len(failed),
        "failed": failed,
        "seconds": round(time.monotonic() - started, 3),
    }


def model_name(generator: nn.Module) -> str:
    """What the generator calls itself."""
    if isinstance(generator, ExportedGenerator):
        return f"{generator.name} in {generator.opened.runtime}"
    return str(getattr(generator, "spec", type(generator).__name__))


def plan(inputs: Sequence[str | Path], output: Path, *, overwrite: bool) -> list[Job]:
    """Every picture with the file that it becomes, checked before any work is done.

    Raises:
        UserError: nothing to do, two pictures with one target, a target that is an input, or one
            that exists without `overwrite`.
    """
    jobs = _as_file(inputs, output) or _into_folder(inputs, output)
    sources = {job.source.resolve() for job in jobs}
    taken: dict[Path, Path] = {}
    for job in jobs:
        if job.target.resolve() in sources:
            raise UserError(
                f"{job.target} is an input and would be overwritten; name another --output"
            )
        other = taken.setdefault(job.target, job.source)
        if other != job.source:
            raise UserError(
                f"{other} and {job.source} would both become {job.target}; translate them into "
                "different folders"
            )
    present = [job.target for job in jobs if job.target.exists()]
    if present and not overwrite:
        more = f" and {len(present) - 1} more" if len(present) > 1 else ""
        raise UserError(
            f"{present[0]}{more} exist{'' if more else 's'} already; replace with --overwrite or "
            "name another --output"
        )
    if folders := [path for path in present if path.is_dir()]:
        raise UserError(f"{folders[0]} is a folder; name another --output")
    return jobs


def _as_file(inputs: Sequence[str | Path], output: Path) -> list[Job]:
    """The one job where --output names a picture file; empty where it names a folder."""
    if output.suffix.lower() not in SUFFIXES or output.is_dir():
        if output.exists() and not output.is_dir():
            raise UserError(f"output {output} is a file; name a folder, or a new picture file")
        return []
    if len(inputs) != 1 or Path(inputs[0]).is_dir():
        raise UserError(f"output {output} is one picture file; name a folder for several pictures")
    return [Job(list_pictures(inputs)[0], output)]


def _into_folder(inputs: Sequence[str | Path], output: Path) -> list[Job]:
    inside = output.resolve()
    jobs: dict[str, Job] = {}
    for given in map(Path, inputs):
        root = given if given.is_dir() else given.parent
        for path in list_pictures([given]):
            own_result = given.is_dir() and path.resolve().is_relative_to(inside)
            if not (own_result and inside != given.resolve()):
                target = output / path.relative_to(root).with_name(_name(path))
                jobs.setdefault(os.path.abspath(path), Job(path, target))
    if not jobs:
        raise UserError(f"no pictures but earlier results in {', '.join(map(str, inputs))}")
    return list(jobs.values())


def _name(path: Path) -> str:
    """The result's file name: the picture's own wherever that format can hold the result."""
    suffix = path.suffix.lower()
    if suffix in KEEPS_ALPHA or (suffix in NO_ALPHA and not _has_alpha(path)):
        return path.name
    return path.with_suffix(".png").name


def _has_alpha(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.has_transparency_data
    except Exception:
        # Pillow raises nearly anything on damaged files; reading it will report what is wrong.
        return False


def _translate_one(
    generator: CanonicalGenerator, job: Job, device: torch.device, match: bool
) -> None:
    picture = read_picture(job.source)
    try:
        result = run_padded(generator, picture.rgb.to(device)).cpu()
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        height, width = picture.rgb.shape[-2:]
        hint = "scale it down" + ("" if device.type == "cpu" else " or take --device cpu")
        reason = f"not enough memory for {width}x{height} pixels; {hint}"
        raise PictureError(job.source, reason, "translate") from error
    if match:
        result = match_colours_of(result, picture.rgb, picture.alpha)
    write_picture(job.target, result, picture.alpha)


@torch.inference_mode()
def run_padded(generator: CanonicalGenerator, rgb: Tensor) -> Tensor:
    """One canonical picture (3, height, width) of any size through the generator: the same size.

    It goes through whole: with InstanceNorm a tile would come out unlike its place in the picture.
    """
    contract = generator.contract
    padded, box = pad_to_multiple(rgb.unsqueeze(0), contract.multiple_of, contract.min_size)
    result = generator(padded)
    if result.shape != padded.shape:
        came, went = ("x".join(map(str, t.shape[1:])) for t in (result, padded))
        raise UserError(
            f"the generator makes {came} of {went} (channels x height x width); translate takes "
            "generators that keep the size, with multiple_of in their InputContract where needed"
        )
    return crop_back(result, box)[0].float()


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    kinds = (torch.cuda.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or "allocate memory" in text or "out of memory" in text


def _judge(failed: Sequence[dict[str, str]], total: int) -> None:
    """Warn of pictures that failed; raise where that is all of them."""
    if not failed:
        return
    named = "; ".join(f"{f['path']}: {f['reason']}" for f in failed[:NAMED])
    more = f"; and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    if len(failed) == total:
        raise UserError(f"none of {total} picture(s) could be translated: {named}{more}")
    text = f"{len(failed)} of {total} pictures could not be translated: {named}{more}"
    warnings.warn(text, TranslationWarning, stacklevel=3)


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """A bar with the time left, on stderr; nothing where stderr is no terminal."""
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
