"""translate: where results go, what is refused before any work, and odd images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.data.test_colour_profiles import swapped_profile
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.data.destinations import plan
from gan_slimming.errors import UserError
from gan_slimming.workflows.translate import ColourWarning, TranslationWarning, translate


class Identity(nn.Module):
    """Gives back what it gets, and notes the sizes; takes multiples of 4, at least 8."""

    contract = InputContract(colour_order="BGR", multiple_of=4, min_size=8)

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.sizes.append(tuple(images.shape[-2:]))
        return images


def image(path: Path, size: tuple[int, int] = (13, 9), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def test_any_size_goes_through_and_comes_back_whole(tmp_path: Path) -> None:
    generator = Identity()
    sizes = [(1, 1), (13, 9), (16, 8), (3, 50)]
    paths = [image(tmp_path / "in" / f"{w}x{h}.png", (w, h)) for w, h in sizes]
    result = translate(generator, [tmp_path / "in"], tmp_path / "out", device="cpu")
    assert result["translated"] == 4
    assert result["failed"] == []
    assert all(h % 4 == 0 == w % 4 and min(h, w) >= 8 for h, w in generator.sizes)
    for path in paths:
        before, after = opened(path), opened(tmp_path / "out" / path.name)
        assert np.array_equal(np.array(before), np.array(after))


def test_folders_keep_their_structure_and_names(tmp_path: Path) -> None:
    for name in ("a.jpg", "sub/a.JPG", "sub/deep/b.webp", "c.bmp"):
        image(tmp_path / "in" / name)
    single = image(tmp_path / "elsewhere" / "d.png")
    translate(Identity(), [tmp_path / "in", single], tmp_path / "out", device="cpu")
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"a.jpg", "sub/a.JPG", "sub/deep/b.webp", "c.bmp", "d.png"}
    assert not [name for name in found if name.endswith(".tmp")]


def test_transparency_stays(tmp_path: Path) -> None:
    source = image(tmp_path / "a.png", mode="RGBA")
    translate(Identity(), [source], tmp_path / "out", device="cpu")
    after = opened(tmp_path / "out" / "a.png")
    assert after.mode == "RGBA"
    assert np.array_equal(np.array(after)[..., 3], np.array(opened(source))[..., 3])


def test_a_transparent_image_that_calls_itself_jpg_becomes_png(tmp_path: Path) -> None:
    image(tmp_path / "a.png", mode="RGBA").rename(tmp_path / "a.jpg")
    translate(Identity(), [tmp_path / "a.jpg"], tmp_path / "out", device="cpu")
    assert opened(tmp_path / "out" / "a.png").mode == "RGBA"


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 12)).save(tmp_path / "a.jpg", exif=exif)
    translate(Identity(), [tmp_path / "a.jpg"], tmp_path / "out", device="cpu")
    assert opened(tmp_path / "out" / "a.jpg").size == (12, 20)


def test_a_single_image_may_name_its_file(tmp_path: Path) -> None:
    source = image(tmp_path / "a.png")
    translate(Identity(), [source], tmp_path / "deep" / "b.jpg", device="cpu")
    assert opened(tmp_path / "deep" / "b.jpg").format == "JPEG"
    with pytest.raises(UserError, match="one image file"):
        plan([source, tmp_path], tmp_path / "c.jpg", overwrite=False)


def test_results_are_replaced_only_when_asked(tmp_path: Path) -> None:
    source = image(tmp_path / "a.png")
    generator = Identity()
    translate(generator, [source], tmp_path / "out", device="cpu")
    with pytest.raises(UserError, match="--overwrite"):
        translate(generator, [source], tmp_path / "out", device="cpu")
    assert len(generator.sizes) == 1
    again = translate(generator, [source], tmp_path / "out", device="cpu", overwrite=True)
    assert again["translated"] == 1


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    source = image(tmp_path / "a.png")
    before = source.read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(source)
    for output in (tmp_path, tmp_path / "out"):
        with pytest.raises(UserError, match="is an input"):
            translate(Identity(), [source], output, device="cpu", overwrite=True)
    assert source.read_bytes() == before


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    first, second = image(tmp_path / "x" / "a.png"), image(tmp_path / "y" / "a.png")
    with pytest.raises(UserError, match="would both become"):
        plan([first, second], tmp_path / "out", overwrite=False)
    assert len(plan([first, first], tmp_path / "out", overwrite=False)) == 1


def test_earlier_results_inside_the_input_are_left_out(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    output = tmp_path / "out"
    translate(Identity(), [tmp_path], output, device="cpu")
    result = translate(Identity(), [tmp_path], output, device="cpu", overwrite=True)
    assert result["translated"] == 1
    assert not (output / "out").exists()


def test_bad_images_are_counted_and_the_rest_is_done(tmp_path: Path) -> None:
    image(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")
    (tmp_path / "in" / "empty.jpg").write_bytes(b"")
    with pytest.warns(TranslationWarning, match="2 of 3 images"):
        result = translate(Identity(), [tmp_path / "in"], tmp_path / "out", device="cpu")
    assert result["translated"] == 1
    assert {Path(f["path"]).name for f in result["failed"]} == {"bad.png", "empty.jpg"}
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.png"]


def test_nothing_done_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="none of 1"):
        translate(Identity(), [tmp_path / "bad.png"], tmp_path / "out", device="cpu")
    with pytest.raises(UserError, match="no such file"):
        translate(Identity(), [tmp_path / "absent.png"], tmp_path / "out", device="cpu")


def test_running_out_of_memory_names_the_size_and_the_way_out(tmp_path: Path) -> None:
    class Greedy(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    with pytest.raises(UserError, match="not enough memory for 13x9 pixels; scale it down"):
        translate(Greedy(), [image(tmp_path / "a.png")], tmp_path / "out", device="cpu")


def test_colours_are_matched_when_asked(tmp_path: Path) -> None:
    class Darker(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * 0.5 - 0.4

    source = image(tmp_path / "a.png", (32, 32))
    translate(Darker(), [source], tmp_path / "plain", device="cpu")
    translate(Darker(), [source], tmp_path / "matched", device="cpu", match_colours=True)
    means = [
        np.array(opened(path / "a.png")).mean()
        for path in (tmp_path, tmp_path / "plain", tmp_path / "matched")
    ]
    assert abs(means[2] - means[0]) < 2 < means[0] - means[1]


def test_animations_and_stills_of_a_folder(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:], duration=90)
    frames[0].save(photos / "still.gif")
    frames[0].save(photos / "x.jpg")
    report = translate(nn.Identity(), [photos], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "moving.gif", "still.png", "x.jpg",
    ]  # fmt: skip
    assert (report["translated"], report["frames"]) == (3, 2)
    translate(nn.Identity(), [photos / "moving.gif"], tmp_path / "one.gif")
    with pytest.raises(UserError, match="is one animation; give one animated GIF"):
        translate(nn.Identity(), [photos / "x.jpg"], tmp_path / "two.gif")


def test_profiles_and_depths_are_told(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    translate(nn.Identity(), [tmp_path / "deep.png"], tmp_path / "same.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "same.png")), deep)
    with pytest.warns(ColourWarning, match="became 8 in .*same.jpg; write .png or .tif"):
        translate(nn.Identity(), [tmp_path / "deep.png"], tmp_path / "same.jpg")
    image = Image.new("RGB", (16, 16), (200, 30, 90))
    image.save(tmp_path / "p.png", icc_profile=swapped_profile())
    with pytest.warns(
        ColourWarning, match="converted to sRGB, which results have: sRGB built-in .1"
    ):
        translate(nn.Identity(), [tmp_path / "p.png"], tmp_path / "q.png")
    assert Image.open(tmp_path / "q.png").getpixel((0, 0)) == (90, 30, 200)
