"""Training that has left its range: noticed at its step, and traced to its cause."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.data.inputs import Inputs
from gan_slimming.data.torch_files import tensors_in
from gan_slimming.errors import UserError

SKIPS = 3
"""Most steps in a row that are left out because they are not finite."""
RANGE = 100.0
"""A loss is out of range beyond this many times the largest of the stage's first steps."""
FIRST_STEPS = 20
"""Steps of a stage whose largest loss is its range."""
LONG = 50
"""Steps in a row out of range after which a run has diverged."""
LARGEST_FLOAT16 = 65504.0
STATE = ("skipped", "in_a_row", "largest", "seen", "outside")
"""What a watch saves."""


class Diverged(UserError):
    """Training whose numbers are no longer finite, or far out of their range; the text says why."""


class BadAnswer(Diverged):
    """An answer of the teacher's that no lower learning rate mends."""


class Watch:
    """Counts steps that are left out, and watches whether the loss has left its range for long.

    Args:
        least: loss below which no range lies, such as the sum of the terms' weights: each term is
            of the order of 1.
    """

    def __init__(self, least: float):
        self.least = least
        self.skipped = self.in_a_row = 0
        """Steps left out because they were not finite: in all, and just now."""
        self.clear()

    def clear(self) -> None:
        """Take the range anew, for another stage."""
        self.largest, self.seen, self.outside = 0.0, 0, 0

    def skip(self) -> bool:
        """Count a step that is left out; return whether it is one too many in a row."""
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        return self.in_a_row >= SKIPS

    def take(self, loss: float) -> None:
        """Note the loss of a step; raise Diverged where it has been out of range for long."""
        self.in_a_row = 0
        if self.seen < FIRST_STEPS:
            self.seen, self.largest = self.seen + 1, max(self.largest, loss)
            return
        limit = RANGE * max(self.largest, self.least)
        self.outside = self.outside + 1 if loss > limit else 0
        if self.outside >= LONG:
            raise Diverged(
                f"the loss has been above {limit:.3g} for {LONG} steps, now at {loss:.3g}"
            )

    def state_dict(self) -> dict[str, float]:
        """Return plain numbers."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        for name in STATE:
            setattr(self, name, state[name])


def read_terms(
    terms: Mapping[str, Tensor], weights: Iterable[Tensor]
) -> tuple[dict[str, float], bool]:
    """Return a step's terms, and whether they and all gradients are finite.

    All of it comes from the device in one transfer, that of the log.

    Args:
        terms: scalars.
        weights: parameters, after the backward pass.
    """
    gradients = [w.grad for w in weights if w.grad is not None]
    norms = torch._foreach_norm(gradients) if gradients else []  # pyright: ignore[reportPrivateImportUsage]
    values = [value.detach().float() for value in (*terms.values(), *norms)]
    numbers = torch.stack([*values]).cpu().tolist()
    finite = all(abs(number) < float("inf") for number in numbers)
    return dict(zip(terms, numbers, strict=False)), finite


def is_finite(content: Any) -> bool:
    """Return whether all numbers in nested containers of tensors are finite."""
    floats = [t for t in tensors_in(content) if t.is_floating_point() and t.numel()]
    if not floats:
        return True
    place = floats[0].device
    return bool(torch.stack([t.detach().isfinite().all().to(place) for t in floats]).all())


def check_answer(image: Tensor, features: Sequence[Tensor], explain: Callable[[], str]) -> None:
    """Raise BadAnswer for an answer of the teacher's that is not finite, or too large to be kept.

    Args:
        image: the teacher's; it is kept in 16-bit floats.
        features: the teacher's.
        explain: returns the input's name, and the layer.
    """
    sound = image.isfinite().all() & (image.abs() <= LARGEST_FLOAT16).all()
    for values in features:
        sound = sound & values.isfinite().all()
    if not bool(sound):
        kind = "not finite" if not bool(image.isfinite().all()) else "too large for 16-bit floats"
        raise BadAnswer(
            f"the teacher's answer to {explain()} is {kind}; leave that input out, or mend the "
            "teacher"
        )


def first_bad_layer(network: nn.Module, run: Callable[[], Any]) -> str | None:
    """Return the first module whose output is not finite while `run` runs the network.

    None where there is none, or where it is the network's own forward that makes it so.
    """
    with _watched(network) as found, torch.no_grad():
        run()
    return found[0] or None if found else None


@torch.no_grad()
def cause_in_student(
    student: nn.Module, batch: Inputs, names: Sequence[str], generate: Callable[..., Tensor]
) -> str | None:
    """Return what is not finite: a weight, or a layer's output for an input; None if nothing.

    Args:
        student: its mode stays.
        batch: inputs.
        names: of each of them.
        generate: inputs -> the student's images.
    """
    for name, tensor in student.state_dict().items():
        if isinstance(tensor, Tensor) and not is_finite(tensor):
            return f"the student's {name.removeprefix('module.')} is not finite"
    for place, name in enumerate(names):
        with _watched(student) as found:
            answer = generate(*(x[place : place + 1] for x in batch))
        if found or not is_finite(answer):
            layer = found[0].removeprefix("module.") if found else ""
            from_layer = f" from layer {layer} on" if layer else ""
            return f"the student's answer to {name} is not finite{from_layer}"
    return None


@contextmanager
def _watched(network: nn.Module) -> Iterator[list[str]]:
    """Yield the names of modules whose outputs are not finite, in the order of their calls."""
    found: list[str] = []

    def hook(name: str) -> Callable[..., None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if not is_finite(output):
                found.append(name)

        return look

    handles = [m.register_forward_hook(hook(name)) for name, m in network.named_modules()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
