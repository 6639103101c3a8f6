"""The folder of a table, whose names are defined here only, and images for the scale smoke."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gan_slimming.data.files import write_atomically
from gan_slimming.data.image_files import list_images, write_image
from gan_slimming.errors import UserError

SMOKE_SIDE = 40
"""Height and width in pixels of the images of the scale smoke."""


class TableFolder:
    """The files of one table.

    Args:
        path: the folder, which need not exist.
    """

    def __init__(self, path: Path):
        self.path = path
        self.settings = path / "experiment.json"
        self.records = path / "records"
        self.table = path / "table.md"
        self.page = path / "report.html"
        self.teacher = path / "teacher.pth"
        """The teacher of random weights of the scale smoke."""

    def record(self, row: str) -> Path:
        """Return the record of a row, which exists once the row is finished."""
        return self.records / f"{row}.json"

    def stage(self, row: str, number: int, make: str) -> Path:
        """Return the run folder of a stage, from 1."""
        return self.path / "rows" / row / f"{number}-{make}"

    def open(self, settings: Mapping[str, Any]) -> None:
        """Make the folder, or go on with it.

        Raises:
            UserError: it is of another origin, or of other settings, which would mix tables.
        """
        text = json.dumps(settings, indent=2, sort_keys=True, default=str) + "\n"
        if self.settings.is_file():
            old = json.loads(self.settings.read_text("utf-8"))
            new = json.loads(text)
            changed = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
            if changed:
                raise UserError(
                    f"{self.path} holds rows with another {', '.join(changed)}; name another "
                    "--output, or give the same again"
                )
            return
        if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise UserError(f"{self.path} is not of an experiment; name another --output")
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.settings, text.encode())

    def smoke_images(self, seed: int) -> tuple[Path, Path]:
        """Write random smooth images to train on and to judge on; return both folders."""
        random = torch.Generator().manual_seed(seed)
        folders = self.path / "images" / "train", self.path / "images" / "test"
        for folder, count in zip(folders, (6, 3), strict=True):
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                coarse = torch.rand(1, 3, 5, 5, generator=random) * 2 - 1
                image = torch.nn.functional.interpolate(
                    coarse, (SMOKE_SIDE, SMOKE_SIDE), mode="bilinear"
                )
                write_image(folder / f"{number}.png", image[0])
        return folders


def check_unseen(data: Path, test: Path) -> None:
    """Raise UserError for an image that both training and the judgement would see."""
    seen = {_digest(path): path for path in list_images([data])}
    for path in list_images([test]):
        if (same := seen.get(_digest(path))) is not None:
            raise UserError(
                f"{path} is {same}, which is trained on; judge on images of another folder"
            )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
