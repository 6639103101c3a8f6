"""What a training works with, besides its settings: the teacher, its feed, the judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gan_slimming.data.folder import PictureSet
from gan_slimming.data.inputs import Border, Fed, Feed, Generate
from gan_slimming.data.sampler import Sampler
from gan_slimming.losses.objective import Distance

Track = Callable[[Generate], dict[str, float]]
"""Measures a generator on what training never feeds it."""


@dataclass
class Setting:
    """All of it stays as it is while the student trains."""

    teacher: Generate
    border: Border
    to_input: Callable[[Fed], Fed]
    """The package's own form -> what the generator's forward takes."""
    feed: Feed
    targets: PictureSet | None
    distance: Distance
    track: Track
    folder: Path
    side: int
    """Height and width in pixels of what the generator makes."""
    takes: Callable[[int], bool]
    """Whether the generator takes pictures of this many pixels a side."""
    on_step: Callable[[int, dict[str, float]], None] = lambda step, terms: None
    """Told of every step, from 1, and its terms."""
    network: nn.Module | None = None
    """The teacher itself, where the student began as its copy: its hidden layers can be told
    apart. None leaves the distance between hidden layers out."""
    discriminator: nn.Module | None = None
    """The user's; None for a fresh PatchGAN."""

    def sampler(self, batch_size: int, seed: int, draws: int | None = None) -> Sampler:
        """An order in which the feed is drawn; with `draws` in all, as much of it as they need."""
        distinct = None if draws is None else self.feed.distinct(draws)
        return Sampler(len(self.feed), batch_size, seed, distinct)

    def inputs(self, count: int, seed: int, batch_size: int, device: torch.device) -> Iterator[Fed]:
        """Batches of what the generator's forward takes, drawn from what it trains on."""
        sampler = self.sampler(batch_size, seed)
        for _ in range(count):
            fed = self.feed.fed(*sampler.next(self.feed.views()))
            yield self.to_input(tuple(x.to(device) for x in fed))
