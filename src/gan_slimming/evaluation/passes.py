"""One pass over the items: every model and every teacher makes its images once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from gan_slimming.evaluation.images import partners
from gan_slimming.evaluation.items import Batch, Items, Reader
from gan_slimming.evaluation.scores import Scores
from gan_slimming.evaluation.subjects import Subject, generate

SHOWN = 16
"""So many of a teacher's images are kept for the verdict."""


@dataclass
class Contestant:
    """A model, what it is compared with, and what is gathered about it."""

    subject: Subject
    teacher: Subject | None
    scores: Scores
    references: list[Tensor] = field(default_factory=list)
    """Some of the teacher's images, (3, height, width) each, spread over the items."""
    shown: list[int] = field(default_factory=list)
    """Where their values stand among the scores."""

    def show(self, indices: Sequence[int], reference: Tensor, stride: int) -> None:
        """Keep the images of every `stride`-th item, for the verdict."""
        for place, index in enumerate(indices):
            if index % stride == 0 and len(self.references) < SHOWN:
                self.references.append(reference[place].cpu())
                self.shown.append(self.scores.count + place)


def judge(
    items: Items,
    contestants: Sequence[Contestant],
    *,
    workers: int,
    batch_size: int,
    on_images: Callable[[int], None],
) -> list[tuple[str, str]]:
    """Send all items through all models and their teachers, and measure.

    Args:
        items: what they make images of.
        contestants: the models; their `scores` are filled.
        workers: decoding threads.
        batch_size: most items at once.
        on_images: called with the number of items after each batch.
    Returns:
        (name, reason) of photos that could not be read and are left out for all models alike.
    Raises:
        UserError: an image has no partner, sizes differ, or a generator fails.
    """
    folders, places = _folders(items, contestants)
    subjects = [s for c in contestants for s in (c.subject, c.teacher) if s is not None]
    needed = any(subject.generator is not None for subject in subjects)
    scale = max(
        (s.generator.contract.scale for s in subjects if s.generator is not None), default=1
    )
    reader = Reader(
        items, folders, inputs=needed, workers=workers, batch_size=batch_size, scale=scale
    )
    stride = max(1, len(items) // SHOWN)
    for batch in reader:
        made: dict[int, Tensor] = {}
        for contestant in contestants:
            reference = None
            if contestant.teacher is not None:
                reference = _images(contestant.teacher, batch, made, places)
                contestant.show(batch.indices, reference, stride)
            images = _images(contestant.subject, batch, made, places)
            contestant.scores.add(batch.indices, images, reference)
        on_images(len(batch.indices))
    return reader.skipped


def _folders(
    items: Items, contestants: Sequence[Contestant]
) -> tuple[list[Sequence[Path]], dict[int, int]]:
    """Paths of every folder of images, and which subject has which of them."""
    folders: list[Sequence[Path]] = []
    places: dict[int, int] = {}
    for contestant in contestants:
        for subject in (contestant.subject, contestant.teacher):
            if subject is None or subject.folder is None or id(subject) in places:
                continue
            places[id(subject)] = len(folders)
            folders.append(partners(items.names, subject.folder, items.label))
    return folders, places


def _images(
    subject: Subject, batch: Batch, made: dict[int, Tensor], places: dict[int, int]
) -> Tensor:
    """A subject's images of a batch; a teacher that several models share makes them once."""
    if id(subject) not in made:
        if subject.folder is not None:
            made[id(subject)] = batch.images[places[id(subject)]]
        else:
            assert batch.inputs is not None
            with torch.inference_mode():
                made[id(subject)] = generate(subject, batch.inputs)
    return made[id(subject)]
