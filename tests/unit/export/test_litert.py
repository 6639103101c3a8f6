"""export --format litert: the file computes what the student does, in its own runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.tiny_nets import SHALLOW
from tests.unit.export.xnnpack_student import Net, made
from torch import nn

import gan_slimming as gs
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.errors import UserError
from gan_slimming.export.export_model import export_model
from gan_slimming.models.registry import attach_spec, build_generator, infer_spec, spec_of
from gan_slimming.runtime.sessions import open_runtime

SIDE = 16
MISSING = "ai-edge-litert is not installed"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path, dict[str, Any]]:
    """Return a student, its .tflite file, and the report."""
    pytest.importorskip("ai_edge_litert", reason=MISSING)
    student, path = made(), tmp_path_factory.mktemp("tflite") / "g.tflite"
    return student, path, export_model(student, path, size=SIDE)


def test_apps_find_its_input_by_name_with_channels_last(
    exported: tuple[nn.Module, Path, dict[str, Any]],
) -> None:
    runner = open_runtime(exported[1], threads=1).native.get_signature_runner()
    image = np.zeros((1, SIDE, SIDE, 3), np.float32)
    assert runner(input=image)["output"].shape == (1, SIDE, SIDE, 3)


@pytest.mark.parametrize("quantize_outputs", [False, True])
@pytest.mark.parametrize("name", ["cartoongan", "fast-style", "cyclegan", "dcgan", "sngan"])
def test_registered_generators_are_in_int8_throughout(
    name: str, quantize_outputs: bool, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert", reason=MISSING)
    student = _student(name, quantize_outputs)
    told = export_model(student, tmp_path / "g.tflite", size=SIDE)
    assert told["parity"]["litert"]["error"] <= 1e-5
    assert told["parity"]["litert"]["image"] < 0.01
    assert (told["float_layers"], told["outside"]) == ([], [])
    plain = export_model(student, tmp_path / "f.tflite", size=SIDE, quantization="none")
    assert plain["parity"]["litert"]["error"] <= 1e-4
    if told["parameters"] > 100_000:
        assert told["size_bytes"] < 0.45 * plain["size_bytes"]


def _student(name: str, quantize_outputs: bool) -> nn.Module:
    torch.manual_seed(0)
    net = build_generator(name, width=4, **SHALLOW.get(name, {})).eval()
    contract = infer_spec(net).contract
    inputs = dummy_inputs(contract, contract.next_side(SIDE))
    prepared = gs.prepare(net, inputs, quantize_outputs=quantize_outputs)
    gs.calibrate(prepared, [inputs])
    student = gs.extract(prepared)
    attach_spec(student, spec_of(net))
    return student


class Reversing(Net):
    """A step that LiteRT's table lacks."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image).flip(3)


def test_an_operator_that_the_format_lacks_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason=MISSING)
    with pytest.raises(UserError, match=r"has no flip as in forward; take --format onnx"):
        export_model(Reversing().eval(), tmp_path / "g.tflite", size=SIDE)
    assert not list(tmp_path.iterdir())


class Dropping(Net):
    """A generator whose dropout stays on in eval()."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(super().forward(image), 0.5)


def test_dropout_that_stays_on_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason=MISSING)
    with pytest.raises(UserError, match="drops values at random also in eval"):
        export_model(Dropping().eval(), tmp_path / "g.tflite", size=SIDE)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason=MISSING)
    file = tmp_path / "g.tflite"
    file.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    with pytest.raises(UserError, match=r"litert cannot open .*export it again"):
        open_runtime(file)
