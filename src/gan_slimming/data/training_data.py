"""What a run is made of: what the generator is fed, what is held out, and real pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_slimming.config import InputContract, Run, UserError
from gan_slimming.data.folder import HOLDOUT, PictureSet, open_folder
from gan_slimming.data.inputs import Feed
from gan_slimming.data.latents import HELD, TRAIN, latents_for


@dataclass(frozen=True)
class Material:
    """Opened, and ready to be drawn from."""

    feed: Feed
    """What training feeds the generator."""
    held: Feed
    """What it never does."""
    targets: PictureSet | None
    """Real pictures of the generator's output; None where the teacher's outputs stand in."""


def open_material(
    contract: InputContract,
    run: Run,
    side: int,
    data: str | Path | None,
    targets: str | Path | None,
) -> Material:
    """Pictures from a folder for a generator of pictures, seeded noise for one of noise.

    Args:
        side: height and width in pixels of what the generator makes.
        data: folder of input pictures. Of noise there is no folder, and it names real pictures.
        targets: folder of real pictures of the generator's output.
    Raises:
        UserError: pictures are needed, or named twice, or cannot be used.
    """
    if not contract.latent_size:
        if data is None:
            raise UserError("name the pictures to train on: --data FOLDER")
        feed, held = open_folder(data, run.size, holdout=run.holdout)
        return Material(feed, held, _real(targets, side))
    if data is not None and targets is not None:
        raise UserError(
            "this generator takes noise, so there is one folder to name, that of real pictures for "
            f"the discriminator; got --data {data} and --targets {targets}: leave out --data"
        )
    return Material(
        latents_for(contract, run.latents, run.seed, TRAIN),
        latents_for(contract, run.holdout or HOLDOUT, run.seed, HELD),
        _real(targets if data is None else data, side),
    )


def fits(size: int, contract: InputContract) -> bool:
    """Whether the generator takes pictures of `size` x `size` pixels."""
    return size % contract.multiple_of == 0 and size >= contract.min_size


def protocol(contract: InputContract, run: Run, side: int, held: int) -> dict[str, Any]:
    """How the figures of quality are to be read."""
    if contract.latent_size:
        what: dict[str, Any] = {"size": side, "from": "noise that training never saw"}
    else:
        what = {"size": run.size, "resize": "central square, Lanczos"}
    return {"pictures": held, **what, "against": "the teacher's output in float32"}


def _real(folder: str | Path | None, side: int) -> PictureSet | None:
    return None if folder is None else open_folder(folder, side, holdout=0)[0]
