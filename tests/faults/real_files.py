"""Real files of each kind, small ones, to damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tests.faults.tiny_run import prepare
from tests.run_folders import finished_run

import gan_slimming as gs
from gan_slimming.cli import main
from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.serialization.generator_file import save_generator


def make_images(folder: Path) -> None:
    """Write images of every format, with and without transparency, profile and orientation."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (20, 28, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    image.save(folder / "progressive.jpeg", progressive=True, quality=60)
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.save(folder / "plain.png")
    image.convert("RGBA").save(folder / "alpha.png")
    image.quantize(16).save(folder / "palette.png", transparency=3)
    deep = random.integers(0, 65536, (20, 28), dtype=np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep).save(folder / "deep.tif")
    image.save(folder / "lzw.tiff", compression="tiff_lzw")
    image.save(folder / "packed.tif", compression="tiff_deflate")
    image.save(folder / "lossy.webp")
    image.convert("RGBA").save(folder / "whole.webp", lossless=True)
    image.save(folder / "plain.bmp")
    image.save(folder / "plain.ppm")
    frames = [Image.fromarray(np.roll(pixels, i, 0)) for i in range(3)]
    for name in ("moving.gif", "moving.png", "moving.webp"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:], duration=40)
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image.save(folder / "profile.jpg", icc_profile=profile)


def tiny_model(place: Path) -> Path:
    """Return the file of a generator, which is written if it is missing."""
    path = place / "tiny.safetensors"
    if not path.is_file():
        small = build_generator("cartoongan", width=2, blocks=1).eval()
        save_generator(small, path, spec_of(small))
    return path


def make_generators(folder: Path) -> None:
    """Write a dense and a quantised generator, and one that takes noise."""
    small = build_generator("cyclegan", width=2, blocks=1).eval()
    save_generator(small, folder / "dense.safetensors", spec_of(small))
    save_generator(_quantised(), folder / "quantised.safetensors", _SPEC, channel_map={"a": [0, 2]})
    noise = build_generator("sngan", width=4).eval()
    save_generator(noise, folder / "noise.safetensors", spec_of(noise))


_SPEC = spec_of(build_generator("cartoongan", width=4, blocks=1))


def _quantised() -> torch.nn.Module:
    torch.manual_seed(0)
    teacher = build_generator("cartoongan", width=4, blocks=1).eval()
    prepared = gs.prepare(teacher, (torch.zeros(1, 3, 32, 32),))
    gs.calibrate(prepared, [(torch.rand(1, 3, 32, 32) * 2 - 1,)])
    return gs.extract(prepared)


def make_weights(folder: Path) -> None:
    """Write weights as people publish them."""
    torch.manual_seed(0)
    state = build_generator("cartoongan", width=2, blocks=1).state_dict()
    torch.save(state, folder / "plain.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"params_ema": state, "step": 5, "args": ["x"]}, folder / "nested.pth")
    torch.save({f"module.{k}": v.half() for k, v in state.items()}, folder / "half.pth")
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in state.items()}, folder / "plain.safetensors")


def make_checkpoints(folder: Path) -> None:
    """Write checkpoints of a tiny run: the first, and the last."""
    place = folder.parent / "run"
    words = prepare(place)
    words[words.index("--steps") + 1] = "2"
    assert main([*words, "--output", str(place / "run")]) == 0
    for name in ("last.pt", "previous.pt"):
        shutil.copy(place / "run" / "checkpoints" / name, folder / name)


def make_settings(folder: Path) -> None:
    """Write settings for compress, those that are shipped and all of a run."""
    for path in Path(__file__).parents[2].joinpath("configs").glob("*.yaml"):
        shutil.copy(path, folder / path.name)
    finished_run(folder.parent / "settings-of")
    shutil.copy(folder.parent / "settings-of" / "config.yaml", folder / "run.yaml")


def make_runs(folder: Path) -> None:
    """Write run folders."""
    finished_run(folder / "run", side=16, held_out=3)


def make_onnx(folder: Path) -> None:
    """Export a generator in every quantisation."""
    gs.export(_quantised(), folder / "qdq.onnx", quantization="qdq")
    gs.export(_quantised(), folder / "integer.onnx", quantization="integer")
    dense = build_generator("cyclegan", width=2, blocks=1).eval()
    gs.export(dense, folder / "float.onnx", quantization="none")


def make_ir(folder: Path) -> None:
    """Export a generator for OpenVINO, in two files each."""
    for name, quantization in (("qdq", "qdq"), ("float", "none")):
        (folder / name).mkdir()
        gs.export(_quantised(), folder / name / "g.xml", quantization=quantization)
