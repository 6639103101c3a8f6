"""The output files of translate, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_slimming.data.animation import is_animation
from gan_slimming.data.image_files import SUFFIXES, list_images
from gan_slimming.data.image_opening import open_image
from gan_slimming.data.table import read_table
from gan_slimming.data.table_lines import Line
from gan_slimming.data.video import is_video, require_video
from gan_slimming.errors import UserError

KEEPS_ALPHA = (".png", ".webp", ".tif", ".tiff")
"""Endings of formats with an alpha channel."""
NO_ALPHA = (".jpg", ".jpeg", ".bmp")
"""Endings of formats without one."""


@dataclass(frozen=True)
class Job:
    """The input and output file of one image or video."""

    source: Path
    target: Path
    line: Line | None = None
    """The line of a CSV file that names it, with further inputs."""


def plan(inputs: Sequence[str | Path], output: Path, *, overwrite: bool) -> list[Job]:
    """Return the output file of each image and video, checked before any work.

    Raises:
        UserError: no inputs, one target for two images, a target among the inputs, or an existing
            target without `overwrite`.
    """
    return checked(_as_file(inputs, output) or _into_folder(inputs, output), overwrite=overwrite)


def checked(jobs: Sequence[Job], *, overwrite: bool) -> list[Job]:
    """Return jobs of which no result meets another one, an input, or an existing file."""
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
    return list(jobs)


def _as_file(inputs: Sequence[str | Path], output: Path) -> list[Job]:
    """Return the one job of an --output that is a file; [] for a folder."""
    if _is_moving(output) and not output.is_dir():
        return [_animation_job(inputs, output)]
    if is_video(output) and not output.is_dir():
        if len(inputs) != 1 or not is_video(inputs[0]):
            raise UserError(f"output {output} is one video file; give one video, or name a folder")
        return [Job(_video(inputs[0]), output)]
    if output.suffix.lower() not in SUFFIXES or output.is_dir():
        if output.exists() and not output.is_dir():
            raise UserError(f"output {output} is a file; name a folder, or a new image file")
        return []
    if len(inputs) != 1 or Path(inputs[0]).is_dir() or _is_table(Path(inputs[0])):
        raise UserError(f"output {output} is one image file; name a folder for several images")
    if is_video(inputs[0]):
        raise UserError(f"{inputs[0]} is a video; name a folder, or a new video file")
    return [Job(list_images(inputs)[0], output)]


def _is_moving(output: Path) -> bool:
    """Return whether an output file is an animation by its suffix alone."""
    return output.suffix.lower() in (".gif", ".apng")


def _animation_job(inputs: Sequence[str | Path], output: Path) -> Job:
    if len(inputs) != 1 or not is_animation(inputs[0]):
        raise UserError(
            f"output {output} is one animation; give one animated GIF, WebP or PNG, or a folder"
        )
    return Job(Path(inputs[0]), output)


def _into_folder(inputs: Sequence[str | Path], output: Path) -> list[Job]:
    inside = output.resolve()
    jobs: dict[str, Job] = {}
    for given in map(Path, inputs):
        if is_video(given) and not given.is_dir():
            jobs.setdefault(os.path.abspath(given), Job(_video(given), output / given.name))
            continue
        if _is_table(given):
            jobs |= {f"{given}, line {n}": job for n, job in enumerate(_lines(given, output), 2)}
            continue
        root = given if given.is_dir() else given.parent
        for path in list_images([given]):
            own_result = given.is_dir() and path.resolve().is_relative_to(inside)
            if not (own_result and inside != given.resolve()):
                target = output / path.relative_to(root).with_name(_name(path))
                jobs.setdefault(os.path.abspath(path), Job(path, target))
    if not jobs:
        raise UserError(f"no images but earlier results in {', '.join(map(str, inputs))}")
    return list(jobs.values())


def _is_table(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and not path.is_dir()


def _lines(path: Path, output: Path) -> list[Job]:
    """Return a job for each line of a CSV file."""
    table = read_table(path)
    jobs = []
    for number, (name, image) in enumerate(zip(table.names, table.images, strict=True)):
        target = output / f"{name}{Path(_name(image)).suffix}"
        jobs.append(Job(image, target, Line(table, number)))
    return jobs


def _video(path: str | Path) -> Path:
    require_video()
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist")
    return Path(path)


def _name(path: Path) -> str:
    """Return the file name of the result: the image's own if its format can hold the result."""
    suffix = path.suffix.lower()
    if suffix == ".gif" and is_animation(path):
        return path.name
    if suffix in KEEPS_ALPHA or (suffix in NO_ALPHA and not _has_alpha(path)):
        return path.name
    return path.with_suffix(".png").name


def _has_alpha(path: Path) -> bool:
    try:
        with open_image(path) as image:
            return image.has_transparency_data
    except Exception:
        # Pillow raises nearly anything on damaged files; read_image reports the reason later.
        return False
