"""From the budget that the user asks for to the sparsity that meets it.

The paper's rho does not tell the size of the student. Here the size is given. At every step of
slimming the proximal threshold is the smallest that meets a schedule, which falls from the
teacher's cost to the budget. There is no integral term, so nothing winds up. Floors keep every
layer that the function needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gan_slimming.config import NARROW_BITS, Budget
from gan_slimming.errors import UserError
from gan_slimming.pruning.groups import (
    ChannelGroup,
    GroupGraph,
    activations_left,
    elements_left,
    macs_left,
    parameters_left,
)
from gan_slimming.pruning.proximal import (
    Measure,
    channel_prices,
    cost_of_widths,
    shrink_gates,
    uniform_widths,
)
from gan_slimming.serialization.narrow_codes import ENTRY
from gan_slimming.student.gates import on_cpu
from gan_slimming.student.student import Student
from gan_slimming.student.surgery import allowed

MAX_SHARE = 0.97
"""Share of the teacher's cost above which no budget is worth asking for."""
REASONS = 4
"""Most reasons that an error names."""
MARGIN = 0.003
"""Share of the budget that the controller leaves unused."""


def bytes_left(graph: GroupGraph, alive: Mapping[str, Tensor], bits: int | None) -> int:
    """Bytes of the saved file: quantised weights by their bits, four per other number, the header.

    Args:
        bits: of weights; None for none that are quantised. Up to NARROW_BITS they are stored in so
            many, else in bytes.
    """
    layers = graph.quantized_layers if bits else []
    quantized = {f"{path}.weight" if path else "weight" for path in layers}
    elements = elements_left(graph, alive)
    narrow = bits is not None and bits <= NARROW_BITS
    each = bits / 8 if bits is not None and narrow else 1.0
    body = sum(n * (each if name in quantized else 4) for name, n in elements.items())
    tensors = sum(len(shape) > 1 for shape in graph.shapes.values())
    entries = (4 + ENTRY * narrow) * len(quantized)
    return math.ceil(body) + entries + 1000 + 200 * tensors


def measure_of(kind: str, graph: GroupGraph, bits: int | None) -> Measure:
    """Return the cost that a budget of this kind limits."""
    if kind == "macs":
        return lambda alive: float(macs_left(graph, alive))
    if kind == "parameters":
        return lambda alive: float(parameters_left(graph, alive))
    return lambda alive: float(bytes_left(graph, alive, bits))


def price_of(graph: GroupGraph) -> Measure:
    """Return the price of a set of channels: its shares of MACs, parameters and activations.

    MACs are work, parameters are bytes, activations are the memory traffic of high-resolution
    layers. A price of one of them alone would spend the others freely.
    """
    shares = [(f, f(graph, {})) for f in (macs_left, parameters_left, activations_left)]
    return lambda alive: sum(f(graph, alive) / max(whole, 1) for f, whole in shares)


def least_cost(graph: GroupGraph, measure: Measure, multiple: int) -> float:
    """Return the cost with `multiple` channels left in every prunable group."""
    smallest = {g.name: min(multiple, g.channels) for g in graph.prunable}
    return cost_of_widths(graph, measure, smallest)


def can_slim(graph: GroupGraph, factor: float, multiple: int) -> bool:
    """Return whether a student can come down to a factor of its MACs."""
    measure = measure_of("macs", graph, None)
    return least_cost(graph, measure, multiple) <= factor * (1 - MARGIN) * measure({})


def _held(graph: GroupGraph, measure: Measure, multiple: int) -> str:
    """Return what stays for each reason, and what that holds of the least cost, most first.

    A reason holds what would go if its channels could go, too.
    """
    reasons: dict[str, list[ChannelGroup]] = {}
    for group in graph.groups:
        if group.protected:
            reasons.setdefault(group.protected, []).append(group)
    alone = {g.name: torch.arange(g.channels) < multiple for g in graph.prunable}
    least = measure(alone)
    rows = []
    for reason, groups in reasons.items():
        freed = {g.name: torch.arange(g.channels) < multiple for g in groups}
        share = 1 - measure(alone | freed) / max(least, 1)
        rows.append((share, sum(g.channels for g in groups), reason, groups[0].name))
    rows.sort(key=lambda row: -row[0])
    return "; ".join(
        f"{count} channels ({share:.0%} of that, first {name}) because {reason}"
        for share, count, reason, name in rows[:REASONS]
    )


class BudgetController:
    """The threshold, at every step of slimming, that keeps the cost on schedule.

    Args:
        student: freshly prepared, at the teacher's size.
        budget: what it may cost in the end.
        steps: length of slimming: a number of steps, or any other measure of its progress.
        floor: least width of a group, as a share of the uniformly narrow net's.
        multiple: a group that is cut keeps a multiple of this many channels. The last block may
            be large, so the cost can end further below the budget.
        whole: the teacher's cost, where the student has lost blocks.
    Raises:
        UserError: the budget is below the smallest possible cost, which the text names.
    """

    def __init__(
        self,
        student: Student,
        budget: Budget,
        bits: int | None,
        steps: float,
        floor: float,
        multiple: int = 1,
        whole: float | None = None,
    ):
        assert budget.kind is not None
        self.kind = budget.kind
        self.bits = bits
        self.steps = steps
        self.multiple = multiple
        graph = student.graph
        measure = measure_of(self.kind, graph, bits)
        self.start = measure({})
        if whole is None:
            whole = self.start if self.kind != "bytes" else float(bytes_left(graph, {}, None))
        self.whole = whole
        self.budget = budget.amount(whole)
        self.floors = self._floors(graph, measure, floor)

    def _floors(self, graph: GroupGraph, measure: Measure, floor: float) -> dict[str, int]:
        held = f"{_held(graph, measure, self.multiple)} (gan-slimming inspect shows which)"
        if not graph.prunable and self.start > self.budget:
            raise UserError(
                f"no channel of this generator can be taken out: {held}; leave the budget to "
                "quantise alone"
            )
        least = least_cost(graph, measure, self.multiple)
        if least > self.budget * (1 - MARGIN):
            left = "one channel" if self.multiple == 1 else f"{self.multiple} channels"
            share = math.ceil(least / self.whole * 1.01e4) / 1e4  # rounded up, so that it is met
            way = f"ask for at least {share:.4f}"
            if share > MAX_SHARE:
                way = "pruning gains nothing here; leave the budget to quantise alone"
            raise UserError(
                f"budget.{self.kind} of {self.budget:,.0f} cannot be met: with {left} left in "
                f"each of {len(graph.prunable)} groups the generator costs {least:,.0f}; the rest "
                f"stays: {held}; {way}"
            )
        uniform = uniform_widths(graph, measure, self.budget)
        while True:
            floors = {name: self._floor(floor * width) for name, width in uniform.items()}
            if floor < 1e-3 or cost_of_widths(graph, measure, floors) <= 0.9 * self.budget:
                return floors
            floor /= 2

    def _floor(self, width: float) -> int:
        """Return the multiple nearest to a width, at least one; for a multiple of 1, the floor."""
        blocks = int(width) if self.multiple == 1 else round(width / self.multiple)
        return self.multiple * max(1, blocks)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on: numbers and texts."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> BudgetController:
        """Return the controller whose state this is, whatever its student has lost since."""
        controller = cls.__new__(cls)
        vars(controller).update(state)
        return controller

    def target(self, step: float) -> float:
        """Return the cost allowed after `step` of the `steps`; it falls by one factor at each."""
        share = min(1.0, step / self.steps)
        return self.start * ((1 - MARGIN) * self.budget / self.start) ** share

    @torch.no_grad()
    def threshold_step(self, student: Student, step: float) -> float:
        """Take the proximal step, in place, with the smallest threshold that meets `target(step)`.

        Returns:
            The threshold of a group of mean price; over eta it is the rho of this step.
        """
        groups = student.graph.prunable
        measure = measure_of(self.kind, student.graph, self.bits)
        prices = channel_prices(groups, price_of(student.graph))
        weights = [math.sqrt(price) for price in prices]
        floors = [min(self.floors[g.name], g.channels) for g in groups]
        gates = on_cpu(student.gates)

        def shrunk(threshold: float) -> list[Tensor]:
            return shrink_gates(gates, [threshold * w for w in weights], floors, self.multiple)

        def cost(candidate: list[Tensor]) -> float:
            pairs = zip(groups, candidate, strict=True)
            return measure({g.name: allowed(c != 0, g.avoid) for g, c in pairs})

        low = high = 0.0
        if cost(shrunk(low)) > self.target(step):
            tops = [
                float(g.abs().max()) / max(w, 1e-9) for g, w in zip(gates, weights, strict=True)
            ]
            high = max(tops) * 1.001
            for _ in range(40):
                middle = (low + high) / 2
                low, high = (
                    (middle, high) if cost(shrunk(middle)) > self.target(step) else (low, middle)
                )
        result = shrunk(high)
        if step >= self.steps:
            self._fill(student, gates, result, weights)
        for gate, new in zip(student.gates, result, strict=True):
            gate.copy_(new)
        return high

    def _fill(
        self, student: Student, before: list[Tensor], after: list[Tensor], weights: list[float]
    ) -> None:
        """Give back the strongest channels that the budget still allows, in place."""
        groups = student.graph.prunable
        measure = measure_of(self.kind, student.graph, self.bits)
        alive = {g.name: a != 0 for g, a in zip(groups, after, strict=True)}
        candidates: list[tuple[float, int, list[int]]] = []
        for i, (old, new) in enumerate(zip(before, after, strict=True)):
            lost = ((new == 0) & (old != 0)).nonzero().flatten()
            lost = lost[old[lost].abs().argsort(descending=True)]
            for block in lost.split(self.multiple):
                worth = float(old[block].abs().mean()) / weights[i]
                candidates.append((worth, i, block.tolist()))
        limit = self.budget * (1 - MARGIN)
        for _, i, block in sorted(candidates, reverse=True)[:400]:
            alive[groups[i].name][block] = True
            if measure(alive) <= limit:
                after[i][block] = before[i][block]
            else:
                alive[groups[i].name][block] = False
