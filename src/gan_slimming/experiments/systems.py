"""The systems of a table: a teacher, its images, a budget, and how much work a scale is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan_slimming.config import Budget
from gan_slimming.data.plain_yaml import read_yaml
from gan_slimming.errors import UserError
from gan_slimming.experiments.files import file_of, names_of, summary_of
from gan_slimming.experiments.methods import checked, merged, method_names

SCALES = ("smoke", "cpu", "full")
SMOKE: dict[str, Any] = {
    "weights": None, "data": None, "test": None, "targets": None, "test_targets": None,
    "discriminator": None, "partner": None, "count": 8, "metrics": ["psnr", "l1"],
    "minutes": None, "steps": 4, "budget": {"macs": 0.4},
    "evolve": {"population": 2, "generations": 1, "images": 1},
    "settings": {
        "size": 32, "latents": 16, "holdout": 2, "threads": 1, "precision": "32-true",
        "objective": {"distill": "l1"},
        "optimisation": {"batch_size": 2, "discriminator_width": 4, "slim_share": 0.5},
    },
}  # fmt: skip
"""What any system is at the scale `smoke`: seconds, on a teacher of random weights."""
DATA = "GAN_SLIMMING_DATA"
"""The environment variable that names the folder of data and weights."""


@dataclass(frozen=True)
class System:
    """A generator to compress, and what all rows of its table share."""

    name: str
    summary: str
    """What it is, in one line."""
    scale: str
    generator: str
    """The registered name, or package.module:factory."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the generator's factory."""
    weights: str | None = None
    """The teacher's file; None for random weights, which only the scale smoke has."""
    weights_key: str | None = None
    """Where the tensors lie in it."""
    rename: tuple[str, ...] = ()
    """Parts of names in the file and in the generator."""
    origin: str = ""
    """Where the weights come from, in words."""
    data: str | None = None
    """Folder of training images; None for noise."""
    test: str | None = None
    """Folder of images that no row trains on."""
    targets: str | None = None
    """Folder of real images of the output's kind, for the discriminator."""
    test_targets: str | None = None
    """Folder of real images that the results are compared with, such as for FID."""
    discriminator: str | None = None
    """The discriminator that the teacher was trained against: NAME:WEIGHTS."""
    partner: str | None = None
    """Weights of the opposite direction, for co-evolution."""
    budget: Mapping[str, Any] = field(default_factory=lambda: {"macs": 0.05})
    """What each row may cost: macs, parameters or bytes."""
    rows: tuple[str, ...] = ()
    """Methods of the table, in order; () for all."""
    metrics: tuple[str, ...] = ("lpips", "psnr")
    """What the results are judged by."""
    count: int = 1000
    """Number of images of a generator of noise that are judged."""
    steps: int | None = None
    """Training steps of each row."""
    minutes: float | None = None
    """Minutes of training of each row, in place of steps."""
    seed: int = 0
    latency: bool = False
    """Whether to time one image of each row in OpenVINO, in integers where it is quantised."""
    evolve: Mapping[str, Any] = field(default_factory=dict)
    """Settings of co-evolution at this scale."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of training that all rows share."""

    def __post_init__(self) -> None:
        for name in ("rename", "rows", "metrics"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = [row for row in self.rows if row not in method_names() and ".yaml" not in row]
        if unknown:
            known = ", ".join(method_names())
            raise UserError(f"rows are {known}, or a YAML file of your own; got {unknown[0]}")
        if checked(Budget, self.budget, "budget").kind is None:
            raise UserError("a system needs a budget, such as {macs: 0.05}")
        if (self.steps is None) == (self.minutes is None):
            raise UserError("a scale has either steps or minutes")
        if self.weights is None and self.scale != "smoke":
            raise UserError(
                f"name the teacher's weights with --weights; {self.origin}".rstrip("; ")
            )


def system_names() -> list[str]:
    """Return the names of all systems."""
    return names_of("systems")


def listed() -> list[dict[str, str]]:
    """Return name and summary of each system, and of each method."""
    return [
        {"kind": kind, "name": name, "summary": summary_of(file_of(f"{kind}s", name))}
        for kind, names in (("system", system_names()), ("method", method_names()))
        for name in names
    ]


def load_system(name: str, scale: str, changes: Mapping[str, Any]) -> System:
    """Return a system at a scale.

    Args:
        name: one of `system_names`, or a YAML file.
        scale: one of SCALES.
        changes: the user's own entries, which overrule the file's; None counts as not given.
    Raises:
        UserError: there is none, or an entry is wrong; its file is named.
    """
    if scale not in SCALES:
        raise UserError(f"scale must be one of {', '.join(SCALES)}, got {scale}")
    path = file_of("systems", name)
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("scales"), dict):
        raise UserError(f"{path} is no system: it has no scales")
    scales = content.pop("scales")
    if scale not in scales:
        raise UserError(f"{path} has no scale {scale}; it has {', '.join(scales)}")
    given = {key: value for key, value in changes.items() if value is not None}
    if "minutes" in given or "steps" in given:
        given = {"minutes": None, "steps": None} | given
    entries: dict[str, Any] = content
    for layer in (SMOKE if scale == "smoke" else {}, scales[scale] or {}, given):
        whole = {"budget": layer["budget"]} if "budget" in layer else {}
        entries = merged(entries, layer) | whole  # a budget of another kind takes its place
    told = {"name": path.stem, "summary": summary_of(path), "scale": scale}
    try:
        return checked(System, entries | told, "")
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def found(path: str, what: str, origin: str = "") -> Path:
    """Return a file or folder: as it is named, or in the folder GAN_SLIMMING_DATA.

    Args:
        path: as in a system's file.
        what: its use, for the message.
        origin: where it comes from, in words.
    Raises:
        UserError: it is in neither.
    """
    places = [Path(path)]
    if root := os.environ.get(DATA):
        places.append(Path(root) / path)
    for place in places:
        if place.exists():
            return place
    where = f"nor in {root}" if root else f"and {DATA}, the folder to search, is not set"
    raise UserError(f"{path} ({what}) is not here, {where}" + (f"; {origin}" if origin else ""))
