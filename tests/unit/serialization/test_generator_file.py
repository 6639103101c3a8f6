"""generator.safetensors: what is loaded computes what was saved, and the file is small."""

import gc
import json
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.models import registry
from gan_slimming.models.registry import build_generator, registered, spec_of
from gan_slimming.quantization.fake_quant import ActivationQuantizer, WeightQuantizer
from gan_slimming.serialization import packing
from gan_slimming.serialization.generator_file import (
    load_generator_file,
    read_header,
    save_generator,
)
from gan_slimming.serialization.packing import PACKED
from gan_slimming.student.layers import SlimConv2d
from gan_slimming.student.student import Student, calibrate, prepare
from gan_slimming.student.surgery import extract, remove_empty_blocks
from gan_slimming.training.budget import bytes_left

IMAGE = (1, 3, 16, 16)
OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.activation = nn.PReLU(width)
        self.last = nn.ConvTranspose2d(width, 3, 2, 2)
        self.strength = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("shade", torch.linspace(0, 1, 3).view(3, 1, 1), persistent=False)

    def forward(self, images):
        inner = self.activation(self.norm(self.first(images)))
        return self.last(inner) * self.strength + self.shade

class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.second = self.again = nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, images):
        inner = self.second(torch.relu(self.first(images)))
        return self.last(torch.relu(self.again(torch.relu(inner))))

def build(width=6):
    return Net(width)

def other(width=6):
    net = Net(width)
    net.extra = nn.Parameter(torch.zeros(2))
    return net

def stateful():
    class Odd(Net):
        def get_extra_state(self):
            return "a text"
    return Odd(4)
"""


def small_teacher(name: str = "cartoongan") -> nn.Module:
    """Two blocks, where their number is free, width 4, and shifts that are not zero."""
    torch.manual_seed(0)
    spec = spec_of(build_generator(name, width=1))
    free = "blocks" in spec.arguments and name != "cyclegan-6"
    teacher = build_generator(name, width=4, **({"blocks": 2} if free else {})).eval()
    for parameter in teacher.parameters():
        nn.init.normal_(parameter, std=0.3)
    return teacher


def shape_for(generator: nn.Module, batch: int = 1) -> tuple[int, ...]:
    """Of a small input that the generator takes."""
    contract = spec_of(generator).contract
    side = max(IMAGE[-1], contract.min_size)
    return (batch, contract.latent_size) if contract.latent_size else (batch, 3, side, side)


def slimmed(teacher: nn.Module, **options) -> Student:
    """A calibrated student whose gates are random, a third of them zero, and one block dead."""
    generator = torch.Generator().manual_seed(1)
    dtype = next(teacher.parameters()).dtype
    shape = shape_for(teacher)
    student = prepare(teacher, (torch.zeros(shape, dtype=dtype),), **options)
    calibrate(student, [(torch.rand(shape, generator=generator).to(dtype) * 2 - 1,)])
    with torch.no_grad():
        for gate in student.gates:
            gate.copy_(torch.rand(len(gate), generator=generator) + 0.5)
            gate[1:][torch.rand(len(gate) - 1, generator=generator) < 0.33] = 0
        blocks = [block for block in student.graph.blocks if block.inner][:1]
        for block in blocks:
            for name in block.inner:
                student.gate_of(name).zero_()
    assert bool(remove_empty_blocks(student)) == bool(blocks)
    return student


def quantizers_of(layer: Any) -> tuple[WeightQuantizer, ActivationQuantizer]:
    return layer.weight_quantizer, layer.input_quantizer


def images(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(2, 3, 20, 24, generator=generator).to(dtype) * 2 - 1


def assert_same(first: nn.Module, second: nn.Module) -> None:
    with torch.no_grad():
        difference = (first(images()) - second(images())).abs().max()
    assert float(difference) <= 1e-6


@pytest.fixture
def saved(tmp_path: Path) -> tuple[nn.Module, Path]:
    """A quantised CartoonGAN and its file."""
    teacher = small_teacher()
    module = extract(slimmed(teacher))
    path = tmp_path / "generator.safetensors"
    save_generator(module, path, spec_of(teacher))
    return module, path


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of the user's own, importable from the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_of_mine.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "nets_of_mine", raising=False)
    return "nets_of_mine"


def rewrite(path: Path, tensors: dict | None = None, **changes) -> None:
    """Change tensors and metadata of a file; a tensor or entry of None is taken out."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["gan_slimming"])
    header = {k: v for k, v in (header | changes).items() if v is not None}
    content = {k: v for k, v in (load_file(path) | (tensors or {})).items() if v is not None}
    save_file(content, path, metadata={"gan_slimming": json.dumps(header)})


@pytest.mark.parametrize(
    ("name", "bits"),
    [*((name, 8) for name in registered()), ("cartoongan", 4), ("unet-128", None), ("sngan", 4)],
)
def test_loaded_computes_what_was_saved(name: str, bits: int | None, tmp_path: Path) -> None:
    teacher = small_teacher(name)
    module = extract(slimmed(teacher, bits=bits))
    path = tmp_path / "generator.safetensors"
    size_bytes = save_generator(module, path, spec_of(teacher))
    loaded = load_generator_file(path)
    assert size_bytes == path.stat().st_size
    inputs = torch.rand(shape_for(teacher, batch=2)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(loaded(inputs), module(inputs), atol=1e-6, rtol=1e-6)
    assert not loaded.training
    assert spec_of(loaded) == spec_of(teacher)


def test_rounded_outputs_are_kept(tmp_path: Path) -> None:
    teacher, path = small_teacher(), tmp_path / "generator.safetensors"
    module = extract(slimmed(teacher, quantize_outputs=True))
    save_generator(module, path, spec_of(teacher))
    assert_same(load_generator_file(path), module)
    ways = read_header(path)["quantized"]
    assert ways.pop("deconv03_1")["output_bits"] == 0
    assert {way["output_bits"] for way in ways.values()} == {8}
    again = extract(slimmed(load_generator_file(path)))  # a further student gets its own
    assert not any(getattr(layer, "output_quantizer", None) for layer in again.modules())


def test_a_removed_block_is_the_identity_again(saved: tuple[nn.Module, Path]) -> None:
    module, path = saved
    loaded = load_generator_file(path)
    assert isinstance(module.get_submodule("blocks.0"), nn.Identity)
    assert read_header(path)["identities"] == ["blocks.0"]
    assert isinstance(loaded.get_submodule("blocks.0"), nn.Identity)


def test_weights_are_int8_in_the_file(saved: tuple[nn.Module, Path]) -> None:
    module, path = saved
    tensors = load_file(path)
    layers = {n: m for n, m in module.named_modules() if isinstance(m, SlimConv2d)}
    assert layers
    for name, layer in layers.items():
        codes = tensors[f"{name}.weight"]
        assert codes.dtype == torch.int8
        assert codes.shape == layer.weight.shape
        assert int(codes.abs().max()) <= 127
        assert codes.unique().numel() > 2
    assert [n for n, t in tensors.items() if t.is_floating_point()] == [PACKED]


def test_four_bits_use_sixteen_levels(tmp_path: Path) -> None:
    teacher = small_teacher()
    path = tmp_path / "generator.safetensors"
    save_generator(extract(slimmed(teacher, bits=4)), path, spec_of(teacher))
    codes = [t for t in load_file(path).values() if t.dtype == torch.int8]
    assert max(int(c.abs().max()) for c in codes) == 7


def test_loaded_quantisers_are_those_that_were_saved(saved: tuple[nn.Module, Path]) -> None:
    module, path = saved
    loaded = load_generator_file(path)
    signs = set()
    for name, layer in module.named_modules():
        if isinstance(layer, SlimConv2d):
            twin = loaded.get_submodule(name)
            assert isinstance(twin, SlimConv2d)
            assert twin.in_channels == layer.in_channels
            found, wanted = quantizers_of(twin), quantizers_of(layer)
            assert all(torch.equal(a.scale, b.scale) for a, b in zip(found, wanted, strict=True))
            assert found[1].signed == wanted[1].signed
            signs.add(wanted[1].signed)
    assert signs == {True, False}


def test_a_fixed_range_stays_fixed(tmp_path: Path) -> None:
    teacher = small_teacher()
    module = extract(slimmed(teacher, activation_range=4.0))
    path = tmp_path / "generator.safetensors"
    save_generator(module, path, spec_of(teacher))
    loaded = load_generator_file(path)
    quantizer = quantizers_of(loaded.get_submodule("conv01_1"))[1]
    assert (quantizer.learnt, quantizer.signed) == (False, False)
    assert not quantizer.scale.requires_grad
    assert_same(module, loaded)


def test_without_quantisers_only_torch_layers_are_loaded(tmp_path: Path) -> None:
    teacher = small_teacher("cyclegan")
    path = tmp_path / "generator.safetensors"
    save_generator(extract(slimmed(teacher, bits=None)), path, spec_of(teacher))
    loaded = load_generator_file(path)
    kinds = {type(m).__module__ for m in loaded.modules() if not list(m.children())}
    assert all(kind.startswith("torch.nn") for kind in kinds)
    assert all(t.dtype == torch.float32 for t in load_file(path).values())


def test_loading_and_saving_again_gives_the_same_bytes(saved: tuple[nn.Module, Path]) -> None:
    _, path = saved
    again = path.with_name("again.safetensors")
    loaded = load_generator_file(path)
    save_generator(loaded, again, spec_of(loaded))
    assert again.read_bytes() == path.read_bytes()


def test_loading_draws_no_random_numbers(saved: tuple[nn.Module, Path]) -> None:
    before = torch.get_rng_state()
    load_generator_file(saved[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loaded_generator_trains(saved: tuple[nn.Module, Path]) -> None:
    loaded = load_generator_file(saved[1])
    loaded(images()).square().mean().backward()
    weights = [p for n, p in loaded.named_parameters() if n.endswith("weight")]
    assert all(p.grad is not None for p in weights)


def test_a_float64_student_with_a_dead_channel_is_saved_in_float32(tmp_path: Path) -> None:
    teacher = small_teacher().double()
    student = slimmed(teacher)
    with torch.no_grad():  # its scale, the smallest float64, is no float32
        layer: Any = student.module.get_submodule("conv03_2")
        layer.weight[0] = 0
        layer.weight_quantizer.scale[0] = torch.finfo(torch.float64).tiny
    module = extract(student)
    path = tmp_path / "generator.safetensors"
    save_generator(module, path, spec_of(teacher))
    loaded = load_generator_file(path)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert bool(torch.isfinite(loaded(images())).all())


def test_the_header_tells_without_building(tmp_path: Path) -> None:
    teacher = small_teacher()
    student = slimmed(teacher)
    path = tmp_path / "deep" / "folder" / "generator.safetensors"
    kept = {"in01_1": [0, 3], "conv03_1": list(range(16)), "none": []}
    size_bytes = save_generator(
        extract(student),
        path,
        spec_of(teacher),
        channel_map=kept,
        provenance={"seed": 3, "budget": {"macs": 0.05}},
    )
    header = read_header(path)
    assert header["generator"] == "cartoongan"
    assert header["arguments"] == {"width": 4, "blocks": 2}
    assert header["contract"]["colour_order"] == "BGR"
    assert header["channel_map"] == kept
    assert header["provenance"] == {"seed": 3, "budget": {"macs": 0.05}}
    assert header["size_bytes"] == size_bytes
    assert header["tensors"]["deconv03_1.bias"] == [3]
    assert header["quantized"]["deconv03_1"]["weight_bits"] == 7
    names = {n for n in load_generator_file(path).state_dict() if "_extra_state" not in n}
    assert set(header["tensors"]) == names


def test_size_is_a_byte_a_weight_and_a_header_of_some_kilobytes(tmp_path: Path) -> None:
    teacher = build_generator("cartoongan", width=16).eval()
    module = extract(prepare(teacher, (torch.zeros(IMAGE),)))
    size_bytes = save_generator(module, tmp_path / "generator.safetensors", spec_of(teacher))
    weights = sum(p.numel() for p in module.parameters() if p.dim() > 1)
    vectors = sum(t.numel() for n, t in module.state_dict().items() if "extra" not in n) - weights
    assert 0 < size_bytes - weights - 4 * vectors < 5500


@pytest.mark.parametrize("bits", [8, None])
def test_the_budget_estimates_the_real_size(bits: int | None, tmp_path: Path) -> None:
    """On the released CartoonGAN's architecture with a fifth of its channels."""
    teacher = build_generator("cartoongan").eval()
    student = prepare(teacher, (torch.zeros(IMAGE),), bits=bits)
    with torch.no_grad():
        for gate in student.gates:
            gate[len(gate) // 5 :] = 0
    estimate = bytes_left(student.graph, student.alive(), bits)
    kept = {g: channels.tolist() for g, channels in student.kept.items()}
    path = tmp_path / "generator.safetensors"
    size_bytes = save_generator(extract(student), path, spec_of(teacher), channel_map=kept)
    assert size_bytes <= estimate <= 1.03 * size_bytes


def test_a_failing_write_leaves_the_old_file(
    saved: tuple[nn.Module, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, path = saved
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written \(.*No space left.*free space"):
        save_generator(module, path, spec_of(module), provenance={"seed": 1})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_foreign_generator_with_every_kind_of_tensor(own: str) -> None:
    name = f"{own}:build"
    module = build_generator(name, width=5).eval()
    norm: Any = module.get_submodule("norm")
    norm.running_mean.normal_()
    path = Path("generator.safetensors")
    save_generator(module, path, spec_of(module))
    loaded = load_generator_file(path, factory=name)
    assert_same(module, loaded)
    assert spec_of(loaded).arguments == {"width": 5}


def test_what_the_file_knows_is_not_tried_again(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{own}:build"
    module = build_generator(name).eval()
    save_generator(module, "g.safetensors", spec_of(module))

    def tried(module: nn.Module) -> None:
        raise AssertionError(f"{module} was tried")

    monkeypatch.setattr(registry, "infer_contract", tried)
    loaded = load_generator_file("g.safetensors", factory=name)
    assert spec_of(loaded).contract == spec_of(module).contract
    with pytest.raises(AssertionError):
        build_generator(name)


def test_a_layer_that_stands_in_two_places(own: str) -> None:
    teacher = build_generator(f"{own}:Twice").eval()
    module = extract(slimmed(teacher))
    save_generator(module, "g.safetensors", spec_of(teacher))
    assert_same(module, load_generator_file("g.safetensors", factory=f"{own}:Twice"))


def test_foreign_code_is_imported_only_when_the_user_names_it(own: str) -> None:
    name = f"{own}:build"
    module = build_generator(name).eval()
    save_generator(module, "g.safetensors", spec_of(module))
    del sys.modules[own]
    with pytest.raises(UserError, match=f"none was given.*trust.*--generator {name} .*factory="):
        load_generator_file("g.safetensors")
    with pytest.raises(UserError, match=f"got {own}:other.*--generator {name}"):
        load_generator_file("g.safetensors", factory=f"{own}:other")
    assert own not in sys.modules
    assert read_header("g.safetensors")["generator"] == name
    assert own not in sys.modules


def test_a_factory_for_one_of_the_package_is_refused(saved: tuple[nn.Module, Path]) -> None:
    with pytest.raises(UserError, match="holds a generator by cartoongan, got a:b; leave"):
        load_generator_file(saved[1], factory="a:b")
    assert spec_of(load_generator_file(saved[1], factory="cartoongan")).name == "cartoongan"


def test_a_factory_that_has_changed_is_told(own: str) -> None:
    module = build_generator(f"{own}:build").eval()
    save_generator(module, "g.safetensors", spec_of(module))
    rewrite(Path("g.safetensors"), generator=f"{own}:other")
    with pytest.raises(UserError, match=r"does not fit .*extra missing \(1 of 11\).*has changed"):
        load_generator_file("g.safetensors", factory=f"{own}:other")


def test_state_that_is_no_tensor_is_refused(own: str) -> None:
    module = build_generator(f"{own}:stateful")
    with pytest.raises(UserError, match=r"the generator \(Odd\) keeps state.*make it a buffer"):
        save_generator(module, "g.safetensors", spec_of(module))


def test_refuses_what_is_no_generator_file(saved: tuple[nn.Module, Path], tmp_path: Path) -> None:
    whole = saved[1].read_bytes()
    other, text, short = (tmp_path / f"{n}.safetensors" for n in ("other", "text", "short"))
    save_file({"a": torch.zeros(1)}, other)
    text.write_text("<html>not found</html>")
    short.write_bytes(whole[:-100])
    for path, message in (
        (tmp_path / "nothing", "does not exist; give the path"),
        (tmp_path, "is a folder; give the path"),
        (other, "no generator saved by gan-slimming.*cartoongan:"),
        (text, "is not a whole safetensors file"),
        (short, "is not a whole safetensors file"),
    ):
        for reader in (load_generator_file, read_header):
            with pytest.raises(UserError, match=message) as caught:
                reader(path)
            assert "\n" not in str(caught.value)


def test_refuses_a_newer_format(saved: tuple[nn.Module, Path]) -> None:
    rewrite(saved[1], format=3)
    for reader in (load_generator_file, read_header):
        with pytest.raises(UserError, match=r"has format 3.*up to 2; upgrade gan-slimming"):
            reader(saved[1])


@pytest.mark.parametrize(
    ("tensors", "changes", "message"),
    [
        ({"conv02_1.weight": None}, {}, "conv02_1.weight missing"),
        ({PACKED: torch.zeros(7)}, {}, "packed.vectors has 7 numbers, its index"),
        ({PACKED: None}, {}, "no packed.vectors; it is damaged"),
        ({"surplus.weight": torch.zeros(2, 2)}, {}, "surplus"),
        ({"conv01_1.surplus": torch.zeros(2, 2)}, {}, "no place for conv01_1.surplus"),
        ({"deconv03_1.weight": torch.zeros(3, 99, 7, 7, dtype=torch.int8)}, {}, "at most"),
        ({"deconv03_1.weight": torch.zeros(2, 4, 7, 7, dtype=torch.int8)}, {}, "its scales"),
        ({}, {"vectors": [["in01_1", 4, "weight bias", 0]]}, "damaged"),
        ({}, {"identities": ["blocks.9"]}, "blocks"),
        ({}, {"identities": None}, "no identities; it is"),
        ({}, {"contract": {"sound": 1}}, "makes no sense .*sound.*copy or save it again"),
        ({}, {"format": "new"}, "makes no sense"),
        ({}, {"generator": "unheard"}, "no generator is called 'unheard'"),
        ({}, {"arguments": {"depth": 3}}, "no argument depth"),
    ],
)
def test_damage_is_one_line(
    saved: tuple[nn.Module, Path], tensors: dict, changes: dict, message: str
) -> None:
    rewrite(saved[1], tensors, **changes)
    with pytest.raises(UserError, match=message) as caught:
        load_generator_file(saved[1])
    assert "\n" not in str(caught.value)


def test_refuses_to_save_gates_nonsense_and_objects(tmp_path: Path) -> None:
    teacher = small_teacher()
    path = tmp_path / "generator.safetensors"
    with pytest.raises(UserError, match=r"still has a gate; save what student\.extract"):
        save_generator(slimmed(teacher).module, path, spec_of(teacher))
    with pytest.raises(UserError, match="must be JSON"):
        save_generator(teacher, path, spec_of(teacher), provenance={"when": object()})
    with torch.no_grad():
        dict(teacher.named_parameters())["conv02_1.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match=r"conv02_1\.weight is not finite"):
        save_generator(teacher, path, spec_of(teacher))
    assert not path.exists()


def test_a_layer_that_is_exchanged_is_held_so_that_no_other_gets_its_id() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1))
    old = weakref.ref(net[0])
    exchanged: dict[int, tuple[nn.Module, nn.Module]] = {}
    packing._quantize_layer(net, "0", packing.Quantizers(7, 8, True, True), exchanged)
    gc.collect()
    assert isinstance(net[0], SlimConv2d)
    assert list(exchanged) == [id(old())]
