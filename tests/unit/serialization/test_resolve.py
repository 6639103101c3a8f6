"""What MODEL can be, and the border between canonical images and a generator."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.models import build_generator, load_generator, spec_of
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.serialization.resolve import (
    RandomWeightsWarning,
    choose_device,
    model_file,
    resolve_model,
)
from gan_slimming.serialization.run_folder import GENERATOR


@pytest.fixture
def saved(tmp_path: Path) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    generator = build_generator("cartoongan", width=2, blocks=1).eval()
    folder = tmp_path / "run"
    save_generator(generator, folder / GENERATOR, spec_of(generator))
    return generator, folder


def same(left: nn.Module, right: nn.Module) -> bool:
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        return torch.equal(left(image), right(image))


def test_a_run_folder_and_its_file_are_the_saved_generator(saved: tuple[nn.Module, Path]) -> None:
    generator, folder = saved
    for model in (folder, str(folder / GENERATOR)):
        loaded = resolve_model(model)
        assert same(loaded, generator)
        assert not loaded.training
        assert model_file(model) == folder / GENERATOR


def test_name_and_weights_in_either_form(tmp_path: Path) -> None:
    generator = build_generator("cartoongan", width=2, blocks=1).eval()
    weights = tmp_path / "Hayao.pth"
    torch.save(generator.state_dict(), weights)
    assert same(resolve_model(f"cartoongan:{weights}"), generator)
    assert same(resolve_model("cartoongan", weights), generator)
    assert model_file(f"cartoongan:{weights}") == weights


def test_a_factory_of_ones_own_with_and_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Conv2d(3, 3, 1)\n"
    )
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "w.pth"
    torch.save({"weight": torch.ones(3, 3, 1, 1), "bias": torch.zeros(3)}, weights)
    loaded = resolve_model(f"own_net:make:{weights}")
    assert loaded(torch.ones(1, 3, 2, 2)).eq(3).all()
    with pytest.warns(RandomWeightsWarning, match="own_net:make:WEIGHTS"):
        assert isinstance(resolve_model("own_net:make"), nn.Conv2d)


def test_a_name_alone_has_random_weights_and_says_so() -> None:
    with pytest.warns(RandomWeightsWarning, match="random weights"):
        assert spec_of(resolve_model("cyclegan-6")).arguments["blocks"] == 6
    assert model_file("cyclegan-6") is None


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("C:\\nets\\generator.safetensors", "no such file or folder"),
        ("runs/nothing", "no such file or folder"),
        ("Hayao", "no such model"),
        ("cartoongan:", "no weights after the colon"),
        ("cartongan:Hayao.pth", "no generator is called 'cartongan'"),
        ("cartoongan:nothing.pth", "does not exist"),
        ("cartoongan:C:\\nothing.pth", "does not exist"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(model: str, text: str) -> None:
    with pytest.raises(UserError, match=text) as caught:
        resolve_model(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.onnx", "exported file"), ("a.xml", "run folder"), ("a.pth", "cartoongan:")],
)
def test_files_of_other_kinds_are_told_what_is_taken(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=text):
        resolve_model(tmp_path / name)


def test_an_unfinished_run_and_two_sources_of_weights(
    tmp_path: Path, saved: tuple[nn.Module, Path]
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="--resume"):
        resolve_model(tmp_path / "empty")
    with pytest.raises(UserError, match="its own weights"):
        resolve_model(saved[1], "w.pth")
    with pytest.raises(UserError, match="names weights already"):
        resolve_model("cartoongan:a.pth", "b.pth")


def test_a_registered_generator_brings_its_contract() -> None:
    generator = load_generator("cartoongan", width=2, blocks=1)
    assert spec_of(generator).contract.colour_order == "BGR"


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(UserError, match="device must be auto, cpu, cuda or mps, got gpu"):
        choose_device("gpu")
