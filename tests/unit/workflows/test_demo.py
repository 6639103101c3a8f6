"""The demonstration: what it is trained on, what it is judged on, and the page."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image

from gan_slimming.errors import Interrupted, UserError
from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.perceptual import lpips
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.workflows import demo as module
from gan_slimming.workflows.demo import TRAINING, UNSEEN, demo

pytest.importorskip("skimage")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny teacher; no LPIPS, whatever this machine has; photos of fewer pixels."""
    torch.manual_seed(0)
    teacher = build_generator("cartoongan", width=4, blocks=1)
    file = tmp_path / "teacher.safetensors"
    save_generator(teacher, file, spec_of(teacher))
    small = tmp_path / "skimage"
    small.mkdir()
    for name in (*TRAINING, *UNSEEN):
        with Image.open(module._photos() / name) as photo:
            photo.convert("RGB").resize((photo.width // 8, photo.height // 8)).save(small / name)
    monkeypatch.setattr(module, "TEACHER", file)
    monkeypatch.setattr(module, "TILE", 32)
    monkeypatch.setattr(module, "_photos", lambda: small)
    monkeypatch.setattr(module, "lpips_at_hand", lambda: None)
    monkeypatch.setattr(lpips, "find_weights", lambda name: None)


@pytest.mark.usefixtures("tiny")
def test_the_demonstration_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARE", 0.4)  # of so small a net a tenth cannot be had
    steps: list[int] = []
    folder = tmp_path / "out"
    summary = demo(folder, 4, lambda step, total, terms: steps.append(step))
    assert steps == [1, 2, 3, 4]
    page = (folder / "index.html").read_text()
    assert summary["page"] == str(folder / "index.html")
    assert page.count("<img ") == 3 * len(UNSEEN)
    assert all(f'title="{name}"' in page for name in UNSEEN)
    assert not any(f'title="{name}"' in page for name in TRAINING)
    assert f"{summary['size_bytes']:,}" in page
    assert set(summary["unseen"]) == {"images", "pictures", "psnr", "ssim"}
    assert summary["unseen"]["images"] == len(UNSEEN)
    assert {"macs", "teacher_macs", "size_bytes", "generator", "steps", "seconds"} <= set(summary)
    assert 0 < summary["macs"] <= 0.4 * summary["teacher_macs"]
    assert json.loads((folder / "summary.json").read_text()) == summary
    module._refuse_strangers(folder, folder / "photos")  # it may be made once more


@pytest.mark.usefixtures("tiny")
def test_a_stopped_demonstration_goes_on_with_its_own_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARE", 0.4)
    steps: list[int] = []

    def on_step(step: int, total: int, terms: dict[str, float]) -> None:
        steps.append(step)
        if steps == [1, 2]:
            signal.raise_signal(signal.SIGINT)

    text = f"go on with gan-slimming demo --output {tmp_path / 'out'} --steps 4"
    with pytest.raises(Interrupted, match=re.escape(text)):
        demo(tmp_path / "out", 4, on_step)
    demo(tmp_path / "out", 4, on_step)
    assert steps == [1, 2, 3, 4]


@pytest.mark.usefixtures("tiny")
def test_a_page_of_the_users_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("mine")
    with pytest.raises(UserError, match="is not of a demonstration"):
        demo(tmp_path / "out", 1)
    assert (tmp_path / "out" / "index.html").read_text() == "mine"


@pytest.mark.usefixtures("tiny")
def test_tiles_come_from_the_training_photos_only(tmp_path: Path) -> None:
    assert set(TRAINING).isdisjoint(UNSEEN)
    module._cut_tiles(module._photos(), tmp_path / "tiles")
    tiles = sorted((tmp_path / "tiles").iterdir())
    sources = {tile.stem.rsplit("_", 3)[0] for tile in tiles}
    assert sources == {Path(name).stem for name in TRAINING}
    for tile in tiles:
        with Image.open(tile) as image:
            assert image.size == (32, 32)
    assert len({tile.read_bytes() for tile in tiles}) == len(tiles)


def test_the_photos_are_those_of_scikit_image() -> None:
    folder = module._photos()
    assert all((folder / name).is_file() for name in (*TRAINING, *UNSEEN))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["thesis.txt", "photos/holiday.png"])
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, name: str) -> None:
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"is not of a demonstration; name another --output"):
        demo(tmp_path / "out", 1)
    found = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert found == [file]
    assert file.read_bytes() == b"mine"
