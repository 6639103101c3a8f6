"""Folders: names, partners, changes, what was held out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from gan_slimming.data.folder import open_folder
from gan_slimming.errors import UserError
from gan_slimming.evaluation.images import (
    as_image,
    held_out,
    open_images,
    partners,
    read_image,
)


def write(
    path: Path, colour: str | tuple[int, ...] = "teal", size: tuple[int, int] = (20, 16)
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate(("b.png", "a.jpg", "sub/a.png")):
        write(tmp_path / "photos" / name, (number, 9, 9))
    return tmp_path / "photos"


def test_names_are_paths_without_endings(photos: Path) -> None:
    folder = open_images(photos)
    assert folder.names == ("a", "b", "sub/a")
    assert folder.by_name["sub/a"] == photos / "sub" / "a.png"


def test_partners_by_name(photos: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "sub/a.bmp", "more.png"):
        write(tmp_path / "made" / name)
    made = open_images(tmp_path / "made")
    found = partners(open_images(photos).names, made, "photos")
    assert [path.name for path in found] == ["a.png", "b.jpg", "a.bmp"]
    (tmp_path / "made" / "b.jpg").unlink()
    with pytest.raises(UserError, match=r"lacks partners for 1 of 3 images of photos \(b\)"):
        partners(open_images(photos).names, open_images(tmp_path / "made"), "photos")


def test_two_of_one_name_are_refused(photos: Path) -> None:
    write(photos / "a.png")
    with pytest.raises(UserError, match=r"holds both a\.jpg and a\.png"):
        _ = open_images(photos).by_name


def test_what_is_no_folder_of_images(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "one" / "a.png")
    for place, text in (
        (tmp_path / "absent", "does not exist"),
        (photos / "b.png", "is a file"),
        (tmp_path / "empty", "no images found"),
        (tmp_path / "one", r"holds 1 image\(s\), at least 2 are needed"),
    ):
        with pytest.raises(UserError, match=text):
            open_images(place)


def test_changes_are_seen(photos: Path) -> None:
    folder = open_images(photos)
    folder.check_unchanged()
    write(photos / "c.png")
    with pytest.raises(
        UserError, match=r"changed while it was read \(.*c.png\); nothing was judged"
    ):
        folder.check_unchanged()
    (photos / "c.png").unlink()
    folder.check_unchanged()
    state = (photos / "b.png").stat()
    os.utime(photos / "b.png", ns=(state.st_atime_ns, state.st_mtime_ns + 5_000_000))
    with pytest.raises(UserError, match=r"b\.png"):
        folder.check_unchanged()
    folder = open_images(photos)
    for path in folder.paths:
        path.unlink()
    with pytest.raises(UserError, match="changed while it was read"):
        folder.check_unchanged()


def test_images_are_read_as_levels_and_resized_as_for_training(
    photos: Path, tmp_path: Path
) -> None:
    levels = read_image(photos / "b.png")
    assert (levels.shape, levels.dtype) == ((3, 16, 20), torch.uint8)
    assert levels[:, 0, 0].tolist() == [0, 9, 9]
    assert float(as_image(levels).min()) == -1
    noise = torch.randint(0, 256, (30, 24, 3), dtype=torch.uint8)
    for name in ("x.png", "y.png"):
        (tmp_path / "two").mkdir(exist_ok=True)
        Image.fromarray(noise.numpy()).save(tmp_path / "two" / name)
    trained = open_folder(tmp_path / "two", 12, holdout=0)[0]
    assert torch.equal(read_image(tmp_path / "two" / "x.png", 12), trained.pixels[0])
    with pytest.raises(UserError, match="too few to resize"):
        read_image(write(tmp_path / "tiny.png", size=(4, 30)), 12)


@pytest.mark.filterwarnings("ignore::gan_slimming.data.folder.ImageWarning")
@pytest.mark.parametrize("holdout", [None, 3])
def test_held_out_is_what_training_holds_out(tmp_path: Path, holdout: int | None) -> None:
    root = tmp_path / "many"
    for number in range(12):
        write(root / f"{number}.png", (number, number // 2, 0))
    (root / "bad.png").write_text("no image")
    _, held = open_folder(root, 16, holdout=holdout)
    found = held_out(open_images(root), holdout)
    assert found.paths == held.paths
    found.check_unchanged()
    write(root / "late.png")
    with pytest.raises(UserError, match=r"late\.png"):
        found.check_unchanged()
