"""Formats of one size: what is refused, and what their files say of themselves."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.export.xnnpack_student import Net, made
from torch import nn

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.padding import run_padded
from gan_slimming.errors import UserError
from gan_slimming.export.export_model import check_format, export_model
from gan_slimming.export.one_size import (
    NAMES,
    SUFFIXES,
    at_one_size,
    checked,
    image_error,
    metadata_at,
)
from gan_slimming.export.placement import in_runtime, is_exported, write_for
from gan_slimming.runtime.sessions import open_runtime
from gan_slimming.runtime.started import Started
from gan_slimming.workflows.benchmark import benchmark

SIDE = 16
PACKAGES = {"executorch": "executorch", "litert": "ai_edge_litert"}
"""Format with a runtime -> the package that must be installed."""


def test_the_size_is_the_next_that_the_generator_takes() -> None:
    one = at_one_size(made(), None, 15, ".pte")
    assert (one.side, one.contract.size, one.quantized) == (16, 16, True)
    assert at_one_size(made(), "none", 16, ".pte").quantized is False
    told = metadata_at(one, ["depthwise"], {"seed": 1})
    assert told["form"] == "qdq"
    assert told["float_layers"] == ["depthwise"]
    assert "depthwise" not in told["int8_layers"]
    assert len(told["int8_layers"]) == told["quantized_layers"] - 1


def test_int8_without_quantisers_and_noise_are_refused() -> None:
    with pytest.raises(UserError, match="no quantised layers for --quantization qdq; take none"):
        at_one_size(Net().eval(), "qdq", 16, ".pte")


class Noisy(Net):
    """A generator that draws noise."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        values = super().forward(image)
        return values + torch.randn_like(values)


def test_noise_is_refused_with_the_format() -> None:
    with pytest.raises(UserError, match=r"draws noise, which a .tflite file cannot"):
        at_one_size(Noisy().eval(), None, 16, ".tflite")


def test_another_image_or_layer_is_no_parity() -> None:
    one = at_one_size(made(), None, SIDE, ".tflite")
    black = np.zeros((1, 3, SIDE, SIDE), np.float32)
    started = Started(lambda *_: black, None, "")

    def layers(_: object, given: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
        return [np.zeros(1, np.float32) for _ in given]

    with pytest.raises(UserError, match=r"the int8 layer .* in LiteRT; nothing is written"):
        checked(one, "litert", started, layers, [])
    with pytest.raises(UserError, match="the int8 file's image differs"):
        checked(one, "litert", started, layers, list(one.traced.layers))
    assert image_error(one, one.image(), "litert") == 0
    plain = at_one_size(made(), "none", SIDE, ".tflite")
    with pytest.raises(UserError, match="the float file's image differs"):
        checked(plain, "litert", started, layers, [])


@pytest.mark.parametrize("kind", NAMES)
def test_a_format_is_known_by_its_suffix(kind: str) -> None:
    path = Path(f"a{SUFFIXES[kind]}")
    assert check_format(path, None, None) == kind
    with pytest.raises(UserError, match=rf"{kind} files end in {SUFFIXES[kind]}, got a.onnx"):
        check_format(Path("a.onnx"), kind, None)
    with pytest.raises(UserError, match=f"qdq, which {NAMES[kind]} runs in int8"):
        check_format(path, None, "integer")


@pytest.mark.parametrize("kind", NAMES)
def test_without_its_package_one_line_says_how_to_get_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"pip install 'gan-slimming\[{kind}\]'"):
        export_model(made(), tmp_path / f"g{SUFFIXES[kind]}", size=SIDE)
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class File:
    """A file of one size, with the student that it was made of, and the report."""

    kind: str
    student: nn.Module
    path: Path
    told: dict[str, Any]


@pytest.fixture(scope="module", params=PACKAGES)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> File:
    """Return the file of each format that has a runtime here."""
    kind = request.param
    if find_spec(PACKAGES[kind]) is None:
        pytest.skip(f"{PACKAGES[kind]} is not installed")
    student, path = made(), tmp_path_factory.mktemp(kind) / f"g{SUFFIXES[kind]}"
    return File(kind, student, path, export_model(student, path, size=SIDE))


def test_the_report_names_what_is_not_in_int8(file: File) -> None:
    told = file.told
    assert (told["format"], told["quantization"], told["opset"]) == (file.kind, "qdq", None)
    assert told["size_bytes"] == file.path.stat().st_size
    assert told["float_layers"] == ["depthwise"]
    assert told["sizes"] == "16x16 pixels only"
    assert told["parity"][file.kind]["error"] <= 1e-5
    assert is_exported(file.path.name)


def test_its_image_is_the_students(file: File) -> None:
    image = torch.rand(1, 3, SIDE, SIDE) * 2 - 1
    opened = open_runtime(file.path, threads=1)
    assert opened.contract.size == SIDE
    assert opened.metadata["quantized_layers"] == 6
    with torch.no_grad():
        expected = file.student(image).numpy()
    assert np.abs(opened(image.numpy()) - expected).mean() < 0.02 * expected.std()


def test_an_image_of_another_size_is_padded_or_refused(file: File) -> None:
    generator = in_runtime(file.path, None, 1)
    adapter = GeneratorAdapter(generator, generator.contract)
    assert run_padded(adapter, torch.zeros(1, 3, 12, 10)).shape == (1, 3, 12, 10)
    with pytest.raises(UserError, match="takes images of 16x16 pixels only, got"):
        run_padded(adapter, torch.zeros(1, 3, 18, 10))
    with pytest.raises(UserError, match="takes images of 16x16 pixels only, got size 32"):
        benchmark([str(file.path)], size=32, threads=1, rounds=1)


def test_a_size_is_needed_for_a_generator(file: File, tmp_path: Path) -> None:
    expected = rf"{NAMES[file.kind]} takes images of one size; write it by export"
    with pytest.raises(UserError, match=expected):
        write_for(Net().eval(), file.kind, "none", tmp_path)
