"""Folders that are read as images are drawn: the same images and split as in memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_slimming.data.folder import open_folder
from gan_slimming.data.image_files import list_images
from gan_slimming.data.sampler import Sampler
from gan_slimming.data.square_images import ImageSet, ImageWarning, bytes_of
from gan_slimming.data.streamed import StreamedImages, held_out_of, open_streamed
from gan_slimming.errors import UserError

SIZE = 16


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty different images, three of them twice."""
    for number in range(30):
        noise = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        (tmp_path / f"{number % 3}").mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / f"{number % 3}" / f"{number:02}.png")
    for number in range(3):
        shutil.copy(tmp_path / "0" / f"{3 * number:02}.png", tmp_path / "1" / f"copy{number}.png")
    return tmp_path


def streamed(
    folder: Path, room: int = 0, workers: int = 0, holdout: int | float | None = 4
) -> tuple[StreamedImages, ImageSet]:
    limit = bytes_of(room, SIZE)
    paths = list_images([folder])
    return open_streamed(folder, paths, SIZE, holdout=holdout, memory_limit=limit, workers=workers)


@pytest.mark.parametrize("holdout", [0, 1, 4, 0.3, None])
def test_the_split_is_that_of_a_folder_in_memory(photos: Path, holdout: int | float | None) -> None:
    train, held = streamed(photos, holdout=holdout)
    in_memory, held_in_memory = open_folder(photos, SIZE, holdout=holdout)
    assert train.paths == in_memory.paths
    assert held.paths == held_in_memory.paths
    assert torch.equal(train.rows, in_memory.rows)
    every = torch.arange(len(held))
    assert torch.equal(held.squares(every), held_in_memory.squares(every))


@pytest.mark.parametrize(("room", "workers"), [(0, 0), (0, 3), (5, 1), (99, 2)])
def test_draws_are_those_of_a_folder_in_memory(photos: Path, room: int, workers: int) -> None:
    train, _ = streamed(photos, room, workers)
    in_memory, _ = open_folder(photos, SIZE, holdout=4)
    order = Sampler(len(train), 4, seed=3)
    for downscale in (1, 2):
        for _ in range(12):
            chosen = order.next(in_memory.augmentations(downscale, draws=1000))
            images = train.images(*chosen, downscale)
            assert torch.equal(images, in_memory.images(*chosen, downscale))
            train.expect(order.coming)


def test_as_many_images_are_kept_as_fit(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = streamed(photos, room=5)
    reads: list[int] = []
    read = StreamedImages._read
    monkeypatch.setattr(
        StreamedImages, "_read", lambda self, index: (reads.append(index), read(self, index))[1]
    )
    every = torch.arange(8)  # the first was read when the folder was opened
    for _ in range(2):
        train.squares(every)
    assert reads == [1, 2, 3, 4, 5, 6, 7, 5, 6, 7]


def test_workers_read_only_what_comes_and_is_not_kept(photos: Path) -> None:
    train, _ = streamed(photos, room=3, workers=1)
    train.squares(torch.tensor([1, 2]))
    train.expect(lambda count: torch.arange(count) % 7)
    assert set(train._coming) == {3, 4, 5, 6}
    train.squares(torch.tensor([3, 4]))
    assert set(train._coming) == {5, 6}
    train.expect(lambda count: torch.full((count,), 6))
    assert set(train._coming) == {6}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unusable_file_is_replaced_by_the_next_one(photos: Path, workers: int) -> None:
    train, _ = streamed(photos, workers=workers)
    for index in (6, 7):
        train.paths[index].write_text("no image")
    if workers:
        train.expect(lambda count: torch.tensor([6, 8]))
    with pytest.warns(ImageWarning, match="each such image is replaced by the next one") as caught:
        first, second, _ = train.squares(torch.tensor([6, 8, 7]))
    assert torch.equal(first, second)
    assert len(caught) == 1
    assert set(train.skipped) == set(train.paths[6:8])


def test_an_unusable_file_is_never_held_out(photos: Path) -> None:
    paths = list_images([photos])
    first = [paths[place] for place in sorted(held_out_of(photos, paths, 3))]
    first[1].write_text("no image")
    left = [path for path in paths if path != first[1]]
    held = {paths[place] for place in held_out_of(photos, paths, 3)}
    assert held == {left[place] for place in held_out_of(photos, left, 3)}
    assert first[1] not in held


def test_a_folder_without_images_is_given_up(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_text("no image")
    with (
        pytest.warns(ImageWarning),
        pytest.raises(UserError, match="5 files in a row are unusable, such as: cannot read"),
    ):
        streamed(tmp_path, holdout=0)
    with pytest.raises(UserError, match="cannot hold out 2 of 5 images, all the same or unusable"):
        streamed(tmp_path, holdout=2)
