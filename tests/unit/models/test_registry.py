"""Generators by name: the registered ones, and the user's own."""

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models import registry
from gan_slimming.models.registry import (
    GeneratorSpec,
    build_generator,
    describe,
    infer_spec,
    load_generator,
    registered,
    spec_of,
)
from gan_slimming.serialization.generator_file import load_generator_file, save_generator

OWN = """
import torch
from gan_slimming.config import InputContract

def build(width=2):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, width, 1), torch.nn.Conv2d(width, 3, 1))
    net.contract = InputContract(low=0, high=255)
    return net

class Holder:
    plain = staticmethod(lambda: torch.nn.Conv2d(3, 3, 1))

def fails():
    raise ValueError("first line\\nsecond line")

def wrong():
    return 3

def badly_described():
    net = build()
    net.contract = "RGB"
    return net

class Busy(torch.nn.Module):
    # Has layers of its own by the names that the package uses.

    def __init__(self):
        super().__init__()
        self.contract, self.spec = torch.nn.Conv2d(3, 2, 1), torch.nn.Conv2d(2, 3, 1)

    def forward(self, x):
        return self.spec(self.contract(x))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a user's module that lies in the current folder."""
    name = "own_" + tmp_path.name.replace("-", "_")
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return name


def refusal(name: str, **arguments: object) -> str:
    """The text with which a generator is refused; one line."""
    with pytest.raises(UserError) as caught:
        load_generator(name, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names() -> None:
    names = "adaptive-style cartoongan cyclegan cyclegan-6 cyclegan-mobile dcgan esrgan fast-style"
    assert registered() == f"{names} sngan srgan unet-128 unet-256".split()
    assert "Chen et al. 2018" in describe("cartoongan")
    assert all("\n" not in describe(name) for name in registered())


@pytest.mark.parametrize("name", registered())
def test_a_spec_builds_the_same_network_again(name: str, tiny: Callable[..., Any]) -> None:
    first, inputs = tiny(name)
    spec = spec_of(first)
    assert spec.name == name
    assert spec.arguments.keys() == inspect.signature(type(first)).parameters.keys()
    again = build_generator(spec.name, **spec.arguments).eval()
    assert spec_of(again) == spec
    again.load_state_dict(first.state_dict())
    assert torch.equal(first(inputs), again(inputs))


@pytest.mark.parametrize("name", registered())
def test_what_comes_out_is_what_the_contract_says(name: str, tiny: Callable[..., Any]) -> None:
    generator, inputs = tiny(name)
    contract, output = spec_of(generator).contract, generator(inputs)
    assert output.shape[:2] == (2, 3)
    assert output.isfinite().all()
    if not contract.latent_size:
        assert output.shape[2:] == tuple(contract.scale * side for side in inputs.shape[2:])
    # One sample does not see another, at any batch size.
    torch.testing.assert_close(output[:1], generator(inputs[:1]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", registered())
def test_every_parameter_gets_a_gradient(name: str, tiny: Callable[..., Any]) -> None:
    generator, inputs = tiny(name)
    generator(inputs).square().sum().backward()
    assert [n for n, p in generator.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", registered())
@pytest.mark.parametrize("kind", ["plain", "wrapped", "parallel", "safetensors"])
def test_weights_round_trip_through_a_file(
    name: str, kind: str, tiny: Callable[..., Any], tmp_path: Path
) -> None:
    """In half precision, with batch norms' counters as integers; BatchNorm of before 2018 none."""
    generator, inputs = tiny(name)
    state, path = generator.state_dict(), tmp_path / "w.pth"
    half = {key: t.half() if t.is_floating_point() else t for key, t in state.items()}
    if kind == "plain":
        torch.save({k: t for k, t in half.items() if not k.endswith("_tracked")}, path)
    elif kind == "wrapped":
        torch.save({"epoch": 3, "netD": {"x": torch.zeros(1)}, "params_ema": half}, path)
    elif kind == "parallel":
        torch.save({"state_dict": {f"module.{key}": t for key, t in half.items()}}, path)
    else:
        path = tmp_path / "w.safetensors"
        save_file(half, path)
    loaded = load_generator(name, path)
    assert spec_of(loaded) == spec_of(generator)
    assert not loaded.training
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert all(torch.equal(loaded.state_dict()[key], half[key].to(t)) for key, t in state.items())
    assert loaded(inputs).shape == generator(inputs).shape


@pytest.mark.parametrize("name", registered())
def test_misfits_are_named_for_every_generator(name: str, tmp_path: Path) -> None:
    torch.save({"strange.weight": torch.zeros(2, 2)}, tmp_path / "w.pth")
    text = refusal(name, weights=tmp_path / "w.pth", width=2)
    assert f"w.pth does not fit {name}(width=2, " in text.replace(")", ", ")
    first = sorted(build_generator(name, width=2).state_dict())[0]
    assert f": missing {first}, " in text
    assert "unexpected strange.weight; check that the file belongs to this generator" in text


def test_published_cartoongan_names_are_understood(tmp_path: Path) -> None:
    generator = build_generator("cartoongan", width=2)
    released = {}
    for key, tensor in generator.state_dict().items():
        parts = key.split(".")
        if parts[0] == "blocks":
            kind, position = parts[3].split("_")
            parts = [f"{kind}{int(parts[1]) + 4:02d}_{position}", parts[4]]
        if parts[0].startswith("in"):
            parts[1] = {"weight": "scale", "bias": "shift"}[parts[1]]
        released[".".join(parts)] = tensor
    torch.save(released, tmp_path / "w.pth")
    images = torch.rand(1, 3, 8, 8)
    loaded = load_generator("cartoongan", tmp_path / "w.pth")
    assert torch.equal(loaded(images), generator.eval()(images))


def test_cyclegan_takes_six_blocks_from_the_weights(tmp_path: Path) -> None:
    torch.save(build_generator("cyclegan-6", width=2).state_dict(), tmp_path / "w.pth")
    spec = spec_of(load_generator("cyclegan", tmp_path / "w.pth"))
    assert spec.arguments == {"width": 2, "blocks": 6, "affine": False, "norm": "instance"}


def test_cyclegan_6_does_not_take_nine_blocks(tmp_path: Path) -> None:
    torch.save(build_generator("cyclegan", width=2).state_dict(), tmp_path / "w.pth")
    text = refusal("cyclegan-6", weights=tmp_path / "w.pth")
    assert "w.pth does not fit cyclegan-6(width=2, blocks=6, affine=False, norm=" in text


def test_old_instance_norm_statistics_are_dropped(tmp_path: Path) -> None:
    """Checkpoints of 2017, with dropout, carry running statistics that nothing ever read."""
    state = {}
    for key, tensor in build_generator("cyclegan", width=2, blocks=2).state_dict().items():
        state[key.replace("conv_block.5", "conv_block.6")] = tensor
    for norm in ("model.2", "model.10.conv_block.2", "model.10.conv_block.7"):
        state[f"{norm}.running_mean"] = torch.zeros(2)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(0)
    torch.save(state, tmp_path / "w.pth")
    loaded = load_generator("cyclegan", tmp_path / "w.pth").state_dict()
    key = "model.11.conv_block.{}.weight"
    assert torch.equal(loaded[key.format(5)], state[key.format(6)])


def test_given_arguments_go_before_those_of_the_weights(tmp_path: Path) -> None:
    torch.save(build_generator("cyclegan", width=2, blocks=1).state_dict(), tmp_path / "w.pth")
    text = refusal("cyclegan", weights=tmp_path / "w.pth", width=4)
    assert "cyclegan(width=4, blocks=1, affine=False, norm=" in text


def test_weights_of_another_generator_are_refused(tmp_path: Path) -> None:
    torch.save(build_generator("cyclegan", width=2, blocks=1).state_dict(), tmp_path / "w.pth")
    text = refusal("cartoongan", weights=tmp_path / "w.pth")
    assert "does not fit cartoongan(width=64, blocks=8): missing" in text
    assert "unexpected model.1.bias" in text


def test_mistaken_names_and_arguments() -> None:
    assert "take one of adaptive-style, cartoongan, cyclegan, " in refusal("cartongan")
    assert "cyclegan has no argument depth; it takes width, blocks" in refusal("cyclegan", depth=3)
    assert "cyclegan takes blocks up to 1,000, got 1000000000" in refusal("cyclegan", blocks=10**9)
    assert "cyclegan takes width up to 65,536, got 100000" in refusal("cyclegan", width=10**5)
    assert "cyclegan takes width up to 65,536, got nan" in refusal("cyclegan", width=float("nan"))
    assert "cyclegan-6 has blocks=6, got blocks=9" in refusal("cyclegan-6", blocks=9)
    assert "at least 1, got 0 and 8" in refusal("cartoongan", width=0)
    assert "unet-128 has downs=7, got downs=8; leave it out" in refusal("unet-128", downs=8)
    assert "cannot be built" in refusal("cartoongan", width="wide")
    assert "cannot be built" in refusal("cyclegan", width=2.5)


def test_a_generator_of_ones_own(own: str, tmp_path: Path) -> None:
    generator = build_generator(f"{own}:build", width=4)
    contract = InputContract(low=0, high=255)
    assert spec_of(generator) == GeneratorSpec(f"{own}:build", {"width": 4}, contract)
    torch.save(generator.state_dict(), tmp_path / "w.pth")
    loaded = load_generator(f"{own}:build", tmp_path / "w.pth", width=4)
    assert torch.equal(loaded.get_parameter("0.weight"), generator.get_parameter("0.weight"))
    assert "does not fit" in refusal(f"{own}:build", weights=tmp_path / "w.pth", width=2)


def test_a_generator_of_ones_own_without_a_contract(own: str) -> None:
    spec = spec_of(load_generator(f"{own}:Holder.plain"))
    assert spec == GeneratorSpec(f"{own}:Holder.plain", {}, InputContract())


def test_names_of_ones_own_layers_are_left_alone(own: str, tmp_path: Path) -> None:
    generator = load_generator(f"{own}:Busy")
    assert generator(torch.zeros(1, 3, 4, 4)).shape == (1, 3, 4, 4)
    spec = GeneratorSpec(f"{own}:Busy", {}, InputContract())
    assert spec_of(generator) == spec
    save_generator(generator, tmp_path / "generator.safetensors", spec)
    again = load_generator_file(tmp_path / "generator.safetensors", factory=spec.name)
    assert spec_of(again) == spec
    assert again(torch.zeros(1, 3, 4, 4)).shape == (1, 3, 4, 4)


def test_failures_of_a_generator_of_ones_own_are_one_line(own: str) -> None:
    assert "failed with ModuleNotFoundError: No module named 'none_such'" in refusal("none_such:f")
    assert "failed with AttributeError" in refusal(f"{own}:absent")
    assert "failed with TypeError" in refusal(f"{own}:build", depth=3)
    assert "failed with ValueError: first line second line" in refusal(f"{own}:fails")
    assert "must return a torch.nn.Module, got int" in refusal(f"{own}:wrong")
    assert "contract of type str" in refusal(f"{own}:badly_described")
    assert "is named package.module:factory" in refusal(f"{own}:")
    assert "give cartoongan and Hayao.pth apart" in refusal("cartoongan:Hayao.pth")


def test_the_import_path_is_left_as_it_was(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = list(sys.path)
    build_generator(f"{own}:build")
    assert sys.path == before


def test_a_module_that_was_not_built_here_has_a_spec_of_its_class() -> None:
    net = nn.Conv2d(3, 3, 1)
    with pytest.raises(AssertionError, match="call infer_spec"):
        spec_of(net)
    spec = infer_spec(net)
    assert spec == GeneratorSpec("torch.nn.modules.conv:Conv2d", {}, InputContract())
    assert spec_of(net) == spec


def test_a_contract_is_found_once_and_goes_with_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[nn.Module] = []

    def infer(module: nn.Module) -> InputContract:
        found.append(module)
        return InputContract(multiple_of=8)

    monkeypatch.setattr(registry, "infer_contract", infer)
    net = nn.Conv2d(3, 3, 1)
    for _ in range(3):
        assert infer_spec(copy.deepcopy(infer_spec(net) and net)).contract.multiple_of == 8
    assert found == [net]
    told = nn.Conv2d(3, 3, 1)
    told.contract = InputContract(low=0)  # pyright: ignore
    assert infer_spec(told).contract.low == 0
    assert found == [net]
