"""translate and inspect from the command line, on a generator saved to a run folder."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gan_slimming.cli import main
from gan_slimming.models import CartoonGenerator, build_generator, spec_of
from gan_slimming.serialization.generator_file import save_generator

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    generator = build_generator("cartoongan", width=2, blocks=1).eval()
    assert isinstance(generator, CartoonGenerator)
    folder = tmp_path / "run"
    save_generator(generator, folder / "generator.safetensors", spec_of(generator))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    Image.new("RGB", (21, 13), "teal").save(folder / "a.jpg")
    Image.new("RGBA", (6, 5), (9, 8, 7, 100)).save(folder / "sub" / "b.png")
    Image.new("L", (40, 1), 128).save(folder / "c.bmp")
    return folder


def last_line(capsys: Capture) -> tuple[dict[str, Any], str]:
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    return json.loads(out), err


def test_translate_writes_every_image(run: Path, photos: Path, capsys: Capture) -> None:
    output = photos.parent / "out"
    line = ["translate", str(run), str(photos), "--output", str(output), "--device", "cpu"]
    assert main([*line, "--match-colours"]) == 0
    result, err = last_line(capsys)
    assert err == ""
    assert (result["translated"], result["failed"]) == (3, [])
    assert result["model"] == "cartoongan(width=2, blocks=1)"
    for name in ("a.jpg", "sub/b.png", "c.bmp"):
        with Image.open(output / name) as after, Image.open(photos / name) as before:
            assert after.size == before.size
            assert (after.mode == "RGBA") == (before.mode == "RGBA")
    assert main(line) == 2
    assert "already; replace with --overwrite" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_a_bad_image_is_a_warning_and_all_bad_an_error(
    run: Path, photos: Path, capsys: Capture
) -> None:
    (photos / "bad.jpg").write_bytes(b"no image")
    output = str(photos.parent / "out")
    line = ["translate", str(run), str(photos), "--output", output, "--device", "cpu"]
    assert main(line) == 0
    result, err = last_line(capsys)
    assert (result["translated"], len(result["failed"])) == (3, 1)
    assert err.startswith("warning: 1 of 4 images could not be translated")
    assert err.count("\n") == 1
    bad = ["translate", str(run), str(photos / "bad.jpg"), "--output", output]
    assert main(bad) == 2
    assert "none of 1 image(s)" in capsys.readouterr().err


def test_inspect_prints_tables_and_json(run: Path, capsys: Capture) -> None:
    assert main(["inspect", str(run), "--size", "16"]) == 0
    report, err = last_line(capsys)
    assert report["parameters"] == sum(row["parameters"] for row in report["layers"])
    assert report["size_bytes"] == (run / "generator.safetensors").stat().st_size
    assert {"name", "channels", "members", "macs_per_channel", "protected"} <= set(
        report["groups"][0]
    )
    assert "conv01_1" in err


def test_settings_can_stand_in_a_yaml(run: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "inspect.yaml"
    file.write_text(f"model: {run}\nsize: 16\n")
    assert main(["inspect", "--config", str(file)]) == 0
    assert last_line(capsys)[0]["size"] == 16
