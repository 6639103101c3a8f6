"""Batches: order, sizes, bounded numbers, photos that cannot be read."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from gan_slimming.data.inputs import item_of
from gan_slimming.data.latents import SAMPLE, LatentSet
from gan_slimming.errors import UserError
from gan_slimming.evaluation import items as items_module
from gan_slimming.evaluation.images import open_images
from gan_slimming.evaluation.items import Items, Reader, read_frames


@pytest.fixture
def photos(tmp_path: Path) -> Items:
    root = tmp_path / "photos"
    root.mkdir()
    for number in range(7):
        size = (12, 9) if number in (3, 4) else (8, 8)
        Image.new("RGB", size, (number, 0, 0)).save(root / f"{number}.png")
    folder = open_images(root)
    return Items(folder.names, "photos", folder=folder, paths=folder.paths)


def test_batches_keep_the_order_and_hold_equal_sizes(photos: Items) -> None:
    reader = Reader(photos, [photos.paths], batch_size=2)
    batches = list(reader)
    assert [batch.indices for batch in batches] == [(0, 1), (2,), (3, 4), (5, 6)]
    for batch in batches:
        assert batch.inputs is not None
        assert torch.equal(batch.inputs[0], batch.images[0])
        red = (batch.inputs[0][:, 0, 0, 0] + 1) * 127.5
        assert red.round().tolist() == list(batch.indices)
    assert reader.skipped == []


def test_large_images_go_alone(photos: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items_module, "MOST_PIXELS", 100)
    assert [len(batch.indices) for batch in Reader(photos)] == [1] * 7
    monkeypatch.setattr(items_module, "MOST_PIXELS", 8 * 8 * 16 * 2)
    assert [len(batch.indices) for batch in Reader(photos, scale=4)] == [2, 1, 1, 1, 2]


def test_unreadable_photos_are_left_out_and_told(photos: Items) -> None:
    photos.paths[1].write_text("no image")
    reader = Reader(photos, batch_size=8)
    assert [i for batch in reader for i in batch.indices] == [0, 2, 3, 4, 5, 6]
    assert reader.skipped == [("1", "it is not an image in a format that Pillow reads")]


def test_inputs_that_nobody_needs_are_not_read(photos: Items) -> None:
    photos.paths[1].write_text("no image")
    reader = Reader(photos, inputs=False)
    (batch,) = reader
    assert batch.inputs is None
    assert batch.indices == tuple(range(7))
    assert reader.skipped == []


def test_an_unreadable_output_is_left_out_and_its_file_is_named(
    photos: Items, tmp_path: Path
) -> None:
    made = shutil.copytree(tmp_path / "photos", tmp_path / "made")
    (made / "1.png").write_text("no image")
    reader = Reader(photos, [photos.paths, open_images(made).paths], batch_size=8)
    assert [i for batch in reader for i in batch.indices] == [0, 2, 3, 4, 5, 6]
    ((name, reason),) = reader.skipped
    assert name == "1"
    assert reason.startswith(f"{made / '1.png'}: it is not an image")


def test_noise_follows_from_its_number() -> None:
    latents = LatentSet(5, 4, classes=3, seed=2, stream=SAMPLE)
    items = Items(tuple(f"{i:05d}" for i in range(5)), "noise", read=partial(item_of, latents))
    batches = list(Reader(items, batch_size=2))
    assert [batch.indices for batch in batches] == [(0, 1), (2, 3), (4,)]
    joined = [torch.cat([b.inputs[k] for b in batches if b.inputs]) for k in (0, 1)]
    for found, expected in zip(joined, latents.batch(torch.arange(5)), strict=True):
        assert torch.equal(found, expected)


def test_frames_of_a_video(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(tmp_path / "clip.mp4"), "w") as made:
        stream = made.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for level in (0, 120, 240):
            pixels = torch.full((32, 32, 3), level, dtype=torch.uint8).numpy()
            made.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        made.mux(stream.encode(None))
    frames = list(read_frames(tmp_path / "clip.mp4"))
    assert [tuple(frame.shape) for frame in frames] == [(3, 32, 32)] * 3
    assert [round(frame.float().mean().item() / 120) for frame in frames] == [0, 1, 2]
    items = Items(("00000", "00001", "00002"), "clip", video=tmp_path / "clip.mp4")
    assert [i for batch in Reader(items, batch_size=2) for i in batch.indices] == [0, 1, 2]
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(UserError, match="cannot read the video"):
        list(read_frames(tmp_path / "bad.mp4"))
