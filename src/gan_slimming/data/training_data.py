"""The data of a run: training inputs, held-out inputs and real images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gan_slimming.config import InputContract, Run
from gan_slimming.data.adapter import check_channels
from gan_slimming.data.dataset import Dataset, open_dataset
from gan_slimming.data.extras import with_extras
from gan_slimming.data.folder import open_folder
from gan_slimming.data.holdout import HOLDOUT
from gan_slimming.data.image_files import list_images
from gan_slimming.data.inputs import InputSet
from gan_slimming.data.latents import HELD, TRAIN, latents_for
from gan_slimming.data.signal_folder import SignalFolder
from gan_slimming.data.square_images import ImageSet, SquareImages, bytes_of
from gan_slimming.data.streamed import open_streamed
from gan_slimming.data.table import open_columns, read_table
from gan_slimming.errors import UserError


@dataclass(frozen=True)
class TrainingData:
    """The opened data of a run."""

    inputs: InputSet
    """Inputs for training."""
    held: InputSet
    """Held-out inputs, never trained on."""
    targets: SquareImages | None
    """Real images of the output's kind; None if the teacher's outputs count as real."""


def open_training_data(
    contract: InputContract,
    run: Run,
    side: int,
    data: str | Path | Dataset | None,
    targets: str | Path | None,
) -> TrainingData:
    """Open a folder of images for a generator of images, or make seeded noise for one of noise.

    A dataset serves for either.

    Args:
        side: height and width of the generator's output in pixels.
        data: folder of input images, a CSV file that names them, or a dataset of inputs; for a
            generator of noise, folder of real images, or a dataset of noise.
        targets: folder of real images of the output's kind.
    Raises:
        UserError: a folder is missing, named twice, or unusable.
    """
    if data is not None and not isinstance(data, str | Path):
        if isinstance(data, SignalFolder):
            alone = replace(contract, extras=())
            pair = open_dataset(data, alone, run.size, run.holdout, copies=data.siblings)
            inputs, held = (with_extras(x, contract.extras, run.seed) for x in pair)
        else:
            inputs, held = open_dataset(data, contract, run.size, run.holdout)
        return TrainingData(inputs, held, _real(targets, side, run))
    if not contract.latent_size:
        if data is None:
            what = "signals" if contract.signal else "images"
            raise UserError(f"name the {what} to train on: --data FOLDER, or --dataset")
        check_channels(contract)
        if Path(data).suffix.lower() == ".csv":
            inputs, held = _listed(Path(data), contract, run)
            return TrainingData(inputs, held, _real(targets, side, run))
        pair = _opened(data, run.size, run.holdout, run)
        inputs, held = (with_extras(images, contract.extras, run.seed) for images in pair)
        return TrainingData(inputs, held, _real(targets, side, run))
    if data is not None and targets is not None:
        raise UserError(
            "this generator takes noise, so there is one folder to name, that of real images for "
            f"the discriminator; got --data {data} and --targets {targets}: leave out --data"
        )
    return TrainingData(
        latents_for(contract, run.latents, run.seed, TRAIN),
        latents_for(contract, run.holdout or HOLDOUT, run.seed, HELD),
        _real(targets if data is None else data, side, run),
    )


def _listed(path: Path, contract: InputContract, run: Run) -> tuple[InputSet, InputSet]:
    """Return the training and held-out images of a CSV file, with their further inputs."""
    table = read_table(path)
    pair = open_folder(
        path.parent, run.size, holdout=run.holdout, memory_limit=run.memory.image_bytes,
        workers=run.workers, files=table.images,
    )  # fmt: skip
    bad = {file for file, _ in pair[0].skipped}
    places = [place for place, image in enumerate(table.images) if image not in bad]
    inputs, held = (
        with_extras(
            images, contract.extras, run.seed,
            open_columns(table, contract.extras, run.size, places, images.rows),
        )
        for images in pair
    )  # fmt: skip
    return inputs, held


def _real(folder: str | Path | None, side: int, run: Run) -> SquareImages | None:
    return None if folder is None else _opened(folder, side, 0, run)[0]


def _opened(
    folder: str | Path, size: int, holdout: int | None, run: Run
) -> tuple[SquareImages, ImageSet]:
    """Return a folder's training and held-out images, streamed where they do not fit in memory."""
    limit = run.memory.image_bytes
    if Path(folder).is_dir():
        paths = list_images([folder])
        if bytes_of(len(paths), size) > limit:
            return open_streamed(
                Path(folder), paths, size, holdout=holdout, memory_limit=limit, workers=run.workers
            )
    return open_folder(folder, size, holdout=holdout, memory_limit=limit, workers=run.workers)
