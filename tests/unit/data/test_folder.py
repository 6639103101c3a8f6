"""The training set: decoding, the resize rule, bad files, and both sides of a split."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_slimming.data.folder import ImageSet, ImageWarning, open_folder
from gan_slimming.data.image_files import read_image
from gan_slimming.errors import UserError


def make_images(folder: Path, count: int, size: tuple[int, int] = (12, 10)) -> list[Path]:
    """Count different noise images, PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        paths.append(folder / f"{number:03}.png")
        Image.fromarray(noise).save(paths[-1])
    return paths


def whole(images: ImageSet) -> torch.Tensor:
    """All images of the set, unmirrored."""
    count = len(images)
    return images.images(torch.arange(count), torch.zeros(count, dtype=torch.int64))


def test_images_of_the_right_size_are_unchanged(tmp_path: Path) -> None:
    paths = make_images(tmp_path, 3, (16, 16))
    train, held = open_folder(tmp_path, 16, holdout=0)
    assert len(train) == 3
    assert len(held) == 0
    assert train.paths == tuple(paths)
    assert train.pixels.dtype == torch.uint8
    images = whole(train)
    assert images.dtype == torch.float32
    assert torch.equal(images, torch.stack([read_image(path).rgb for path in paths]))
    assert whole(held).shape == (0, 3, 16, 16)


def test_resize_takes_the_whole_short_side(tmp_path: Path) -> None:
    # Red, green and blue thirds: of the central square green remains, from top to bottom.
    image = Image.new("RGB", (96, 32), (0, 255, 0))
    image.paste((255, 0, 0), (0, 0, 24, 32))
    image.paste((0, 0, 255), (72, 0, 96, 32))
    image.paste((0, 0, 0), (0, 0, 96, 8))
    for name in ("a.png", "b.png"):
        image.save(tmp_path / name)
    train, _ = open_folder(tmp_path, 16, holdout=0)
    rgb = whole(train)[0]
    assert rgb.shape == (3, 16, 16)
    assert rgb[:, 0].max() < -0.9
    assert rgb[1, 6:].min() > 0.9
    assert rgb[0].max() < -0.9
    assert rgb[2].max() < -0.9


def test_resize_equals_resize_then_crop(tmp_path: Path) -> None:
    paths = make_images(tmp_path, 2, (64, 96))
    train, _ = open_folder(tmp_path, 32, holdout=0)
    with Image.open(paths[0]) as image:
        reference = image.resize((48, 32), Image.Resampling.LANCZOS).crop((8, 0, 40, 32))
    expected = torch.from_numpy(np.array(reference)).permute(2, 0, 1).float() / 127.5 - 1
    assert (whole(train)[0] - expected).abs().max() <= 1.01 / 127.5


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(checks).save(tmp_path / name)
    train, _ = open_folder(tmp_path, 16, holdout=0)
    assert whole(train).abs().max() < 0.1


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(tmp_path / name)
    train, _ = open_folder(tmp_path, 8, holdout=0)
    assert torch.equal(whole(train), torch.ones(2, 3, 8, 8))


def test_batch_mirrors_what_it_is_told(tmp_path: Path) -> None:
    make_images(tmp_path, 3)
    train, _ = open_folder(tmp_path, 8, holdout=0)
    images = train.images(torch.tensor([2, 0, 2]), torch.tensor([0, 1, 1]))
    every = whole(train)
    assert torch.equal(images, torch.stack([every[2], every[0].flip(-1), every[2].flip(-1)]))
    assert images.min() >= -1
    assert images.max() <= 1


def test_parts_are_true_squares_of_their_image_and_never_enlarged() -> None:
    """An image of its own coordinates tells which square each part is."""
    ramp = torch.arange(64, dtype=torch.uint8)
    across = ramp.expand(64, 64)
    images = ImageSet(
        torch.stack([across, across.T, across])[None].repeat(9, 1, 1, 1),
        torch.arange(9),
        tuple(Path(str(i)) for i in range(9)),
    )
    sides = set()
    for row in range(9):
        for view in range(2, 8, 2):
            chosen = torch.tensor([row, row]), torch.tensor([view, view + 1])
            straight, mirrored = images.images(*chosen, 2)
            assert straight.shape == (3, 32, 32)
            assert torch.equal(mirrored, straight.flip(-1))
            x, y = ((axis + 1) * 127.5 for axis in straight[:2])
            # Away from the edges, where the filter has no neighbours, one output pixel is `step`
            # input pixels wide; the same across and down.
            step = (x[:, 28] - x[:, 4]) / 24
            assert torch.allclose(step, step[:1], atol=1e-3)
            assert torch.allclose((y[28] - y[4]) / 24, step[:1], atol=1e-3)
            assert 1 - 1e-3 <= float(step[0]) <= 2 + 1e-3
            assert float(x.min()) >= 0
            assert float(x.max()) <= 63
            sides.add(round(float(step[0]) * 32))
    assert len(sides) > 9


@pytest.mark.parametrize(
    ("count", "draws", "half", "full"),
    [(643, 6000, 1, 1), (643, 10_000, 2, 2), (60, 2000, 4, 2), (5, 0, 1, 1)],
)
def test_the_fewer_images_for_the_steps_the_more_parts(
    count: int, draws: int, half: int, full: int
) -> None:
    """So many that each view is drawn about eight times: the teacher answers each but once."""
    images = _empty(count)
    assert images.augmentations(2, draws, draws_per_answer=8) == half
    assert images.augmentations(1, draws, draws_per_answer=8) == full  # no pixels to spare


@pytest.mark.parametrize(("count", "draws", "half"), [(643, 6000, 2), (60, 2000, 8), (5, 0, 2)])
def test_runs_of_version_0_1_draw_all_images_mirrored(count: int, draws: int, half: int) -> None:
    images = _empty(count)
    assert images.augmentations(2, draws) == half
    assert images.augmentations(1, draws) == 2
    assert images.distinct(2, draws, None) == count


def _empty(count: int) -> ImageSet:
    pixels = torch.zeros(1, 3, 16, 16, dtype=torch.uint8).expand(count, -1, -1, -1)
    return ImageSet(pixels, torch.arange(count), tuple(Path(str(i)) for i in range(count)))


def test_a_part_is_the_same_whenever_and_with_whatever_it_is_drawn() -> None:
    pixels = torch.randint(0, 256, (4, 3, 16, 16)).to(torch.uint8)
    paths = tuple(Path(str(i)) for i in range(4))
    images = ImageSet(pixels, torch.arange(4), paths)
    together = images.images(torch.tensor([3, 1, 1]), torch.tensor([4, 2, 5]), 2)
    assert torch.equal(images.images(torch.tensor([1]), torch.tensor([2]), 2)[0], together[1])
    assert not torch.equal(together[1], together[2].flip(-1))
    other = ImageSet(pixels, torch.tensor([1]), paths[1:2])  # the same image, another place
    assert torch.equal(other.images(torch.tensor([0]), torch.tensor([2]), 2)[0], together[1])


def test_bad_images_are_skipped_with_one_warning(tmp_path: Path) -> None:
    make_images(tmp_path, 3)
    (tmp_path / "001_text.jpg").write_text("no image")
    (tmp_path / "zero.png").touch()
    Image.new("RGB", (1, 1)).save(tmp_path / "tiny.png")
    Image.new("RGB", (7, 100)).save(tmp_path / "thin.png")
    with pytest.warns(ImageWarning) as caught:
        train, held = open_folder(tmp_path, 8, holdout=1)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "4 of 7 files skipped, the first: " in text
    assert "001_text.jpg: it is not an image" in text
    assert len(train) + len(held) == 3
    reasons = {path.name: reason for path, reason in train.skipped}
    assert reasons["tiny.png"] == "it has 1x1 pixels, at least 8x8 are needed"
    assert set(reasons) == {"001_text.jpg", "zero.png", "tiny.png", "thin.png"}
    assert train.skipped == held.skipped
    # A skipped file must not shift the others' pixels.
    names = [path.name for path in train.paths + held.paths]
    by_name = dict(zip(names, [*whole(train), *whole(held)], strict=True))
    alone, _ = open_folder(tmp_path_with_good(tmp_path), 8, holdout=0)
    for path, image in zip(alone.paths, whole(alone), strict=True):
        assert torch.equal(by_name[path.name], image)


def tmp_path_with_good(folder: Path) -> Path:
    """A folder beside with the good images of `folder` only."""
    target = folder.parent / f"{folder.name}_good"
    target.mkdir()
    for number in range(3):
        shutil.copy(folder / f"{number:03}.png", target)
    return target


def test_folders_without_use(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        open_folder(tmp_path / "missing", 8, holdout=0)
    with pytest.raises(UserError, match="no images found"):
        open_folder(tmp_path, 8, holdout=0)
    (path,) = make_images(tmp_path, 1)
    with pytest.raises(UserError, match="a folder of images was expected, got the file"):
        open_folder(path, 8, holdout=0)
    with pytest.raises(UserError, match="holds 1 usable images, at least 2 are needed"):
        open_folder(tmp_path, 8, holdout=0)
    path.write_text("bad")
    with pytest.raises(UserError, match=r"holds 0 usable images.*1 of 1 files skipped, the first"):
        open_folder(tmp_path, 8, holdout=0)


def test_limits(tmp_path: Path) -> None:
    make_images(tmp_path, 4)
    with pytest.raises(UserError, match="holds 4 usable images, at least 5"):
        open_folder(tmp_path, 8, holdout=0, min_count=5)
    with pytest.raises(UserError, match=r"use a smaller size or 2 images"):
        open_folder(tmp_path, 8, holdout=0, memory_limit=3 * 8 * 8 * 2)
    with pytest.raises(UserError, match="size must be at least 1 pixel, got 0"):
        open_folder(tmp_path, 0, holdout=0)


@pytest.mark.parametrize(
    ("holdout", "message"),
    [
        (1.0, r"in \[0, 1\), got 1.0"),
        (-0.5, r"in \[0, 1\), got -0.5"),
        (float("nan"), "got nan"),
        (-1, "0 or more, got -1"),
        (4, "cannot hold out 4 of 4 images"),
    ],
)
def test_wrong_holdout(tmp_path: Path, holdout: int | float, message: str) -> None:
    make_images(tmp_path, 4)
    with pytest.raises(UserError, match=message):
        open_folder(tmp_path, 8, holdout=holdout)


def test_progress_and_workers(tmp_path: Path) -> None:
    make_images(tmp_path, 5)
    calls: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        calls.append((done, total))

    one, _ = open_folder(tmp_path, 8, holdout=0, workers=0, progress=note)
    four, _ = open_folder(tmp_path, 8, holdout=0, workers=4)
    assert calls == [(done, 5) for done in range(1, 6)]
    assert torch.equal(one.pixels, four.pixels)


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (9, 1), (15, 3), (79, 15), (100, 16)])
def test_unless_asked_otherwise_a_fifth_or_16_are_held_out(
    tmp_path: Path, count: int, held_out: int
) -> None:
    make_images(tmp_path, count)
    train, held = open_folder(tmp_path, 8, holdout=None)
    assert (len(train), len(held)) == (count - held_out, held_out)


@pytest.mark.parametrize("holdout", [3, 0.3])
def test_split_is_disjoint_complete_and_repeatable(tmp_path: Path, holdout: int | float) -> None:
    paths = make_images(tmp_path, 10)
    train, held = open_folder(tmp_path, 8, holdout=holdout)
    assert set(train.paths).isdisjoint(held.paths)
    assert sorted(train.paths + held.paths) == paths
    assert len(held) >= 1
    if holdout == 3:
        assert len(held) == 3
    again, held_again = open_folder(tmp_path, 8, holdout=holdout)
    assert again.paths == train.paths
    assert held_again.paths == held.paths
    for image, path in zip(whole(held), held.paths, strict=True):
        row = paths.index(path)
        assert torch.equal(image, whole_row(train.pixels, row))


def whole_row(pixels: torch.Tensor, row: int) -> torch.Tensor:
    return pixels[row].float() / 127.5 - 1


def test_copied_files_are_found_by_content(tmp_path: Path) -> None:
    paths = make_images(tmp_path, 4)
    for number, path in enumerate(paths):
        (tmp_path / f"copies{number}").mkdir()
        for copy in range(3):
            shutil.copy(path, tmp_path / f"copies{number}" / f"{copy}.png")
    train, held = open_folder(tmp_path, 8, holdout=0.5)
    assert len(train) + len(held) == 16
    trained = {path.read_bytes() for path in train.paths}
    assert trained.isdisjoint(path.read_bytes() for path in held.paths)


def test_a_short_run_draws_few_images_each_several_times() -> None:
    images = _empty(1000)
    assert images.distinct(2, 100, 8) == 100
    assert images.distinct(1, 100, 8) == 25
    assert images.distinct(2, 4000, 8) == 500
    assert images.distinct(1, 10**6, 8) == 1000
