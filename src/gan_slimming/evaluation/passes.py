"""One pass over the items, in which every model and teacher makes its images once."""

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
"""Number of the teacher's images kept for the verdict."""


@dataclass
class Contestant:
    """A model with its teacher and its scores."""

    subject: Subject
    teacher: Subject | None
    scores: Scores
    references: list[Tensor] = field(default_factory=list)
    """Some of the teacher's images, (3, height, width) each, spread over the items."""
    shown: list[int] = field(default_factory=list)
    """Positions of their values among the scores."""

    def show(self, indices: Sequence[int], reference: Tensor, stride: int) -> None:
        """Keep the teacher's images of every `stride`-th item for the verdict."""
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
    """Run all models and their teachers on all items, and measure their images.

    Args:
        items: the inputs.
        contestants: the models; their scores are filled in place.
        workers: decoding threads.
        batch_size: largest number of items in a batch.
        on_images: called with the number of items after each batch.
    Returns:
        (name, reason) of items with an unreadable image, which are left out for all models.
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
    """Return the paths of each folder of images, and id(subject) -> index of its folder."""
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
    """Return a subject's images of a batch, computed once for all models that share it."""
    if id(subject) not in made:
        if subject.folder is not None:
            made[id(subject)] = batch.images[places[id(subject)]]
        else:
            assert batch.inputs is not None
            with torch.inference_mode():
                made[id(subject)] = generate(subject, batch.inputs)
    return made[id(subject)]
