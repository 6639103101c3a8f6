"""The models of one evaluation: opened, measured on the same items, and reported."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.evaluation.choice import (
    EvaluationWarning,
    Given,
    check_counts,
    choose_metrics,
    teachers_told,
    warn_of_training_images,
)
from gan_slimming.evaluation.costs import costs_of
from gan_slimming.evaluation.figures import Measured
from gan_slimming.evaluation.file_features import embed_files
from gan_slimming.evaluation.images import partners
from gan_slimming.evaluation.item_choice import choose_items
from gan_slimming.evaluation.items import Items
from gan_slimming.evaluation.passes import Contestant, judge
from gan_slimming.evaluation.scores import Scores
from gan_slimming.evaluation.subjects import Origin, Subject, open_subject, teacher_of
from gan_slimming.evaluation.tools import Tools, load_tools
from gan_slimming.metrics.catalogue import Metric
from gan_slimming.metrics.embedded_set import EmbeddedSet
from gan_slimming.metrics.verdict import verdict
from gan_slimming.serialization.provenance import fingerprint
from gan_slimming.serialization.resolve import choose_device

Advance = Callable[[int], None]
"""Called with the number of images just processed."""


@dataclass(frozen=True)
class Work:
    """Settings of speed and memory; no figure depends on them."""

    workers: int = 2
    """Decoding threads."""
    batch_size: int = 32
    """Largest number of images in a batch."""
    cache: bool = True
    """Whether to keep the features of image files for later evaluations."""


@dataclass(frozen=True)
class Contest:
    """The models of an evaluation, their metrics and their inputs."""

    contestants: list[Contestant]
    metrics: list[Metric]
    items: Items
    given: Given
    tools: Tools

    @property
    def subjects(self) -> list[Subject]:
        """Return the models."""
        return [contestant.subject for contestant in self.contestants]

    @property
    def steps(self) -> int:
        """Return the number of images to process: items, and files for each feature network."""
        files = [*self._files(self.contestants, self.items.names), self._real()]
        return len(self.items) + len(self.tools.embeddings) * sum(map(len, files))

    def measure(self, work: Work, advance: Advance) -> Measured:
        """Run all models, measure their images and return what the figures are made of.

        Raises:
            UserError: a folder changed during the pass; an image has no partner; a generator fails.
        """
        skipped = judge(
            self.items, self.contestants, workers=work.workers, batch_size=work.batch_size,
            on_images=advance,
        )  # fmt: skip
        bad = {name for name, _ in skipped}
        names = [name for name in self.items.names if name not in bad]
        sets = {n: self._embed(n, names, work, advance) for n in self.tools.embeddings}
        self._check_unchanged()
        _warn_of(skipped)
        left = len(names)
        if left < 2:
            raise UserError(f"fewer than two images of {self.items.label} can be read")
        self._check_readable(left, sets)
        waveforms = any(subject.takes_signals for subject in self.subjects)
        return Measured(self.items, self.given, self.tools, sets, left, tuple(skipped), waveforms)

    def _real(self) -> Sequence[Path]:
        return self.given.targets.paths if self.given.targets is not None else ()

    def _check_readable(self, images: int, sets: dict[str, EmbeddedSet]) -> None:
        """Refuse metrics between sets if too few files were readable."""
        for real in sets.values():
            targets = real.count if self._real() else None
            if images < len(self.items) or (targets or 0) < len(self._real()):
                check_counts(self.metrics, images, targets, asked=True)

    def _files(
        self, contestants: Sequence[Contestant], names: Sequence[str]
    ) -> list[tuple[Path, ...]]:
        """Return the images of each judged folder for these items."""
        return [
            partners(names, c.subject.folder, self.items.label)
            for c in contestants
            if c.subject.folder is not None
        ]

    def _embed(
        self, network: str, names: Sequence[str], work: Work, advance: Advance
    ) -> EmbeddedSet:
        """Add the features of judged folders to their scores; return those of the real images."""
        seed = self.given.seed
        real = self.contestants[0].scores.empty_set(network, seed)
        jobs = [(self._real(), real)]
        for contestant in self.contestants:
            for paths in self._files([contestant], names):
                own = contestant.scores.sets[network] = contestant.scores.empty_set(network, seed)
                jobs.append((paths, own))
        for paths, into in jobs:
            embedding = self.tools.embeddings[network]
            bad = embed_files(
                paths, embedding, into, cache=work.cache, workers=work.workers, on_images=advance
            )
            _warn_of(bad)
        return real

    def _check_unchanged(self) -> None:
        given = (self.given.targets, self.given.labels, self.items.folder)
        owners = [s for c in self.contestants for s in (c.subject, c.teacher) if s is not None]
        for folder in {*given, *(owner.folder for owner in owners)} - {None}:
            assert folder is not None
            folder.check_unchanged()

    def told(self, layers: bool = False) -> list[dict[str, Any]]:
        """Return name, teacher, verdict and costs of each model, layer by layer if `layers`."""
        return [
            {
                "model": contestant.subject.name,
                "teacher": contestant.teacher.name if contestant.teacher else None,
                "verdict": self._verdict(contestant),
                **costs_of(contestant.subject, self.items, layers),
            }
            for contestant in self.contestants
        ]

    def _verdict(self, contestant: Contestant) -> str | None:
        scores = contestant.scores
        name = next((m for m in ("spectral", "lpips", "psnr") if len(scores.values(m))), None)
        if name is None or not contestant.references:
            return None
        value = float(scores.values(name)[contestant.shown].mean())
        return verdict(name, value, contestant.references, self.tools.pairwise[name])


def open_contest(
    models: Sequence[str | Path | nn.Module],
    metrics: Sequence[str] | None,
    given: Given,
    origin: Origin,
) -> Contest:
    """Open all models, metrics and inputs.

    Args:
        models: MODELs, folders of images, or generators.
        metrics: their names; None for all available default ones.
        given: the data and references.
        origin: how models are loaded.
    Raises:
        UserError: something is missing or does not fit; raised before any work is done.
    """
    if not models:
        raise UserError("name at least one MODEL")
    subjects = _distinct_names([open_subject(model, origin) for model in models])
    teachers = _teachers(subjects, given, origin)
    signal = any(s.takes_signals for s in (*subjects, *teachers) if s is not None)
    lost = teachers_told(subjects)
    chosen = choose_metrics(metrics, given, teachers, signal=signal, lost=lost)
    items = choose_items(subjects, teachers, given)
    warn_of_training_images(subjects, given)
    real = None if given.targets is None else len(given.targets.paths)
    chosen = check_counts(chosen, len(items), real, metrics is not None)
    tools = load_tools(chosen, choose_device(origin.device), given.tasks)
    contestants = [
        Contestant(subject, teacher, _scores(subject, teacher, chosen, tools, items, given))
        for subject, teacher in zip(subjects, teachers, strict=True)
    ]
    return Contest(contestants, chosen, items, given, tools)


def _distinct_names(subjects: Sequence[Subject]) -> list[Subject]:
    """Return the subjects with a number appended to repeated names."""
    seen: dict[str, int] = {}
    found = []
    for subject in subjects:
        seen[subject.name] = number = seen.get(subject.name, 0) + 1
        name = f"{subject.name} ({number})"
        found.append(replace(subject, name=name) if number > 1 else subject)
    return found


def _teachers(subjects: Sequence[Subject], given: Given, origin: Origin) -> list[Subject | None]:
    """Return each model's teacher: the given one, its run's, or the only one found.

    A run whose own teacher is missing is not compared with another run's.
    """
    if given.teacher is not None:
        return [given.teacher for _ in subjects]
    known: dict[str | None, Subject] = {}
    lost: list[Subject] = []
    found: list[Subject | None] = []
    for subject in subjects:
        try:
            teacher = teacher_of(subject, origin)
        except UserError as error:
            warnings.warn(str(error), EvaluationWarning, stacklevel=3)
            teacher = None
            lost.append(subject)
        if teacher is not None:  # by its weights: two of one name may differ
            weights = None if teacher.module is None else fingerprint(teacher.module)
            teacher = known.setdefault(weights, teacher)
        found.append(teacher)
    if len(known) == 1:
        only = next(iter(known.values()))
        return [None if subject in lost else only for subject in subjects]
    told = _distinct_names(list(known.values()))
    names = {id(one): other for one, other in zip(known.values(), told, strict=True)}
    return [None if teacher is None else names[id(teacher)] for teacher in found]


def _scores(
    subject: Subject,
    teacher: Subject | None,
    metrics: Sequence[Metric],
    tools: Tools,
    items: Items,
    given: Given,
) -> Scores:
    """Return empty scores of a model; the features of a folder come from its files."""
    own = [m for m in metrics if teacher is not None or m.needs not in ("teacher", "frames")]
    maps = ()
    if given.labels is not None and tools.segment is not None:
        maps = partners(items.names, given.labels, items.label)
    networks = list(tools.embeddings) if subject.generator is not None else []
    rate, named = items.frames_per_second, items.names
    return Scores(subject.name, own, tools, networks, maps, given.seed, rate, named)


def _warn_of(bad: Sequence[tuple[str, str]]) -> None:
    if bad:
        name, reason = bad[0]
        text = f"{len(bad)} image(s) cannot be read and are left out; the first: {name}: {reason}"
        warnings.warn(text, EvaluationWarning, stacklevel=3)
