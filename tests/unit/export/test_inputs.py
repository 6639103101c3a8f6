"""Generators that take noise, or classes with it, or make larger images than they take."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import ExtraInput, InputContract
from gan_slimming.models.as_declared import as_declared
from gan_slimming.models.registry import build_generator, spec_of

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from gan_slimming.export.benchmark_jobs import Job, Plan, exported_jobs, load  # noqa: E402
from gan_slimming.export.convert import convert  # noqa: E402
from gan_slimming.export.export_model import export_model as export  # noqa: E402
from gan_slimming.export.placement import in_runtime  # noqa: E402
from gan_slimming.runtime.sessions import open_runtime  # noqa: E402

RUNTIMES = ("onnxruntime", "openvino")


class Conditional(nn.Module):
    """Noise and a class to an image of 8 pixels."""

    contract = InputContract(latent_size=6, classes=3)

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Embedding(3, 6)
        self.first = nn.Linear(6, 4 * 4 * 4)
        self.up = nn.ConvTranspose2d(4, 3, 4, 2, 1)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        features = torch.relu(self.first(z * self.classes(y)))
        return torch.tanh(self.up(features.view(-1, 4, 4, 4)))


@pytest.fixture(scope="module")
def sngan() -> nn.Module:
    teacher = build_generator("sngan", width=12).eval()
    noise = torch.randn(4, 128, generator=torch.Generator().manual_seed(0))
    prepared = gs.prepare(teacher, (noise[:1],))
    gs.calibrate(prepared, [(noise,)])
    student = gs.extract(prepared)
    student.__dict__["spec"] = teacher.spec
    return student


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_noise_and_classes_are_inputs_of_their_own(tmp_path: Path, runtime: str) -> None:
    net = Conditional().eval()
    told = export(net, tmp_path / "g.onnx")
    assert set(told["parity"]) == set(RUNTIMES)
    opened = open_runtime(tmp_path / "g.onnx", runtime, 1)
    assert (opened.contract.latent_size, opened.contract.classes) == (6, 3)
    z, y = torch.randn(5, 6), torch.tensor([0, 1, 2, 1, 0])
    with torch.no_grad():
        expected = net(z, y)
    made = torch.from_numpy(opened(z.numpy(), y.numpy()))
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)
    if runtime == "onnxruntime":
        assert [entry.name for entry in opened.native.get_inputs()] == ["z", "y"]


@pytest.mark.parametrize(("form", "runtimes"), [("qdq", RUNTIMES), ("integer", RUNTIMES[:1])])
def test_a_quantised_generator_of_noise_keeps_its_layers(
    sngan: nn.Module, form: str, runtimes: tuple[str, ...]
) -> None:
    made = convert(sngan, quantization=form)
    assert set(made.parity) == set(runtimes)
    assert made.float_layers == []
    assert made.metadata["macs"] > 0


def test_an_exported_generator_of_noise_can_be_timed(sngan: nn.Module, tmp_path: Path) -> None:
    export(sngan, tmp_path / "g.onnx", quantization="integer")
    plan = Plan(32, 1, RUNTIMES, ("f32", "int8"), True)
    (job,) = exported_jobs(str(tmp_path / "g.onnx"), plan, tmp_path)
    assert isinstance(job, Job)
    assert (job.runtime, job.precision) == ("onnxruntime", "int8")
    call, report = load(job)
    assert call().shape == (1, 3, 32, 32)
    told = report()
    assert told["float_layers"] == []
    kinds = {layer["kind"] for layer in told["layers"]}
    assert {"ConvInteger", "MatMulInteger"} <= kinds
    assert all(layer["latency_ms"] >= 0 for layer in told["layers"])


def test_larger_images_come_out_larger() -> None:
    net = build_generator("srgan", width=4, blocks=1).eval()
    image = torch.rand(1, 3, 12, 8) * 2 - 1
    with torch.no_grad():
        expected = net(image)
    scale = spec_of(net).contract.scale
    assert scale > 1
    assert expected.shape == (1, 3, 12 * scale, 8 * scale)
    for runtime in RUNTIMES:
        made = in_runtime(net, runtime, 1)(image)
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-4)


class Several(nn.Module):
    """Two outputs, of which one is the image, with a view that names height and width."""

    contract = InputContract(output="image")

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        n, channels, height, width = x.shape
        image = self.body(x).flatten(2).softmax(1).view(n, channels, height, width)
        return {"mask": x, "image": image}


def test_a_generator_of_which_one_output_is_taken_follows_the_size(tmp_path: Path) -> None:
    net = Several().eval()
    as_declared(net, Several.contract)
    assert export(net, tmp_path / "g.onnx")["sizes"] == "any size"
    image = torch.rand(2, 3, 20, 28)
    made = open_runtime(tmp_path / "g.onnx", "onnxruntime", 1)(image.numpy())
    torch.testing.assert_close(torch.from_numpy(made), net(image).detach(), atol=1e-5, rtol=0)


class Squeezed(nn.Module):
    """Noise and a label, of which every axis of length 1 is dropped, the batch among them."""

    contract = InputContract(latent_size=6, latent_dims=4, extras=(ExtraInput("label", 5),))

    def __init__(self) -> None:
        super().__init__()
        self.label, self.up = nn.Linear(5, 4), nn.ConvTranspose2d(10, 3, 8)

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        hidden = torch.relu(self.label(label.squeeze())).view(-1, 4, 1, 1)
        return self.up(torch.cat([noise, hidden], 1))


@pytest.mark.filterwarnings("ignore::gan_slimming.export.export_model.ExportWarning")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_of_single_images_serves_batches(tmp_path: Path, runtime: str) -> None:
    net = Squeezed().eval()
    export(net, tmp_path / "g.onnx", cpus="own")
    opened = open_runtime(tmp_path / "g.onnx", runtime, 1)
    noise, label = torch.randn(3, 6, 1, 1), torch.rand(3, 5)
    made = torch.from_numpy(opened(noise.numpy(), label.numpy()))
    assert torch.allclose(made, net(noise, label), atol=1e-5)


@pytest.mark.filterwarnings("ignore::gan_slimming.export.export_model.ExportWarning")
@pytest.mark.parametrize("form", ["integer", "qdq"])
def test_a_quantised_layer_takes_a_lone_vector(tmp_path: Path, form: str) -> None:
    net = Squeezed().eval()
    example = (torch.randn(1, 6, 1, 1), torch.rand(1, 5))
    prepared = gs.prepare(net, example)
    gs.calibrate(prepared, [example])
    student = gs.extract(prepared)
    told = export(student, tmp_path / "g.onnx", quantization=form, cpus="own")
    assert told["float_layers"] == []
    made = open_runtime(tmp_path / "g.onnx", "onnxruntime", 1)(*(x.numpy() for x in example))
    assert torch.allclose(torch.from_numpy(made), student(*example), atol=1e-5)
