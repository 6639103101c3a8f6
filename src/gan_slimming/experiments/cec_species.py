"""A generator as a species of co-evolution: its masks, what they cost, and what they draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.inputs import Inputs
from gan_slimming.pruning.groups import parameters_left
from gan_slimming.pruning.proximal import Measure
from gan_slimming.student.student import Student
from gan_slimming.student.surgery import allowed

Judge = Callable[[Tensor, Tensor], Tensor]
"""(an individual's images, the teacher's) -> distance, a scalar."""


class GeneratorSpecies:
    """A prepared student whose gates, 0 or 1, are the individual.

    Args:
        student: freshly prepared from the teacher, without quantisers.
        teacher: the same generator behind its convention.
        inputs: batches of one image or noise vector.
        judge: how far images are from the teacher's.
        limit: what an individual may cost, and how that is measured; None for any cost.
        partner: the species of the opposite direction, once it is made.
    """

    def __init__(
        self,
        student: Student,
        teacher: GeneratorAdapter,
        inputs: Sequence[Inputs],
        judge: Judge,
        limit: tuple[Measure, float] | None = None,
    ):
        self.student, self.judge, self.limit = student, judge, limit
        self.inputs = inputs
        self.partner: GeneratorSpecies | None = None
        self.groups = student.graph.prunable
        self.channels = sum(group.channels for group in self.groups)
        self._adapter = GeneratorAdapter(student, teacher.contract).eval()
        with torch.no_grad():
            self._answers = [teacher(*batch).float() for batch in inputs]

    def masks(self, mask: Tensor) -> dict[str, Tensor]:
        """Split (channels,) bool into group -> (channels of the group,) bool."""
        parts = mask.split([group.channels for group in self.groups])
        return {group.name: part for group, part in zip(self.groups, parts, strict=True)}

    def repaired(self, mask: Tensor, random: torch.Generator) -> Tensor:
        """Return the mask with no group empty, and random channels dropped down to the limit."""
        whole = self._allowed(mask)
        if self.limit is None or self._cost(whole) <= self.limit[1]:
            return whole
        alive = whole.nonzero().flatten()
        order = alive[torch.randperm(len(alive), generator=random)]
        low, high = 0, len(order)  # dropping `high` channels is enough, `low` are too few
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (
                (low, middle)
                if self._cost(self._without(whole, order[:middle])) <= self.limit[1]
                else (middle, high)
            )
        return self._without(whole, order[:high])

    def parameters_left(self, mask: Tensor) -> float:
        """Return the share of parameters that a mask leaves."""
        graph = self.student.graph
        return parameters_left(graph, self.masks(mask)) / max(1, parameters_left(graph, {}))

    def distance(self, mask: Tensor) -> float:
        """Return the judge's distance to the teacher, summed over the images."""
        pairs = zip(self.generate(mask, self.inputs), self._answers, strict=True)
        return float(sum(float(self.judge(image, answer)) for image, answer in pairs))

    def cycle(self, mask: Tensor, partner: Tensor) -> float:
        """Return the L1 distance of inputs to what both directions make of them, summed."""
        assert self.partner is not None
        there = [(image,) for image in self.generate(mask, self.inputs)]
        back = self.partner.generate(partner, there)
        pairs = zip(back, self.inputs, strict=True)
        return sum(float((image - batch[0]).abs().mean()) for image, batch in pairs)

    @torch.no_grad()
    def generate(self, mask: Tensor, inputs: Sequence[Inputs]) -> list[Tensor]:
        """Return the individual's images of each batch, RGB in [-1, 1]."""
        for group, gate in zip(self.groups, self.student.gates, strict=True):
            gate.copy_(self.masks(mask)[group.name])
        return [self._adapter(*batch).float().clamp(-1, 1) for batch in inputs]

    def _cost(self, mask: Tensor) -> float:
        assert self.limit is not None
        return self.limit[0](self.masks(mask))

    def _without(self, mask: Tensor, dropped: Tensor) -> Tensor:
        left = mask.clone()
        left[dropped] = False
        return self._allowed(left)

    def _allowed(self, mask: Tensor) -> Tensor:
        masks = self.masks(mask)
        return torch.cat([allowed(masks[g.name], g.avoid) for g in self.groups])


def discriminator_aware(discriminator: nn.Module) -> Judge:
    """Return the mean squared difference of a discriminator's scores, Shu et al. 2019, eq. 4."""
    network = discriminator.eval().requires_grad_(False)

    def judge(images: Tensor, answers: Tensor) -> Tensor:
        return (network(images) - network(answers)).square().mean()

    return judge
