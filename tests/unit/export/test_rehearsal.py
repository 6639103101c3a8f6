"""A trial export tells what the file will take, or why there will be none, before any training."""

import math

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import check_exports
from gan_slimming.errors import UserError
from gan_slimming.student.student import prepare
from gan_slimming.workflows.inspect import inspect, print_report

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from gan_slimming.export.rehearsal import Rehearsal, rehearse  # noqa: E402

BOTH = ("onnx", "openvino")
EXAMPLE = (torch.zeros(1, 3, 32, 32),)


class Own(nn.Module):
    """Two convolutions, and an operation in between."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)

    def between(self, x: Tensor) -> Tensor:
        return torch.relu(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.first(x)))


class Unknown(Own):
    """An operation that no ONNX operator computes."""

    def between(self, x: Tensor) -> Tensor:
        return torch.special.i0(x.clamp(-1, 1))


class Frozen(Own):
    """A size that tracing freezes."""

    def between(self, x: Tensor) -> Tensor:
        return x * int(math.sqrt(x.shape[2]) * 7)


def test_each_format_gets_the_integers_of_its_runtime() -> None:
    student = prepare(Own(), EXAMPLE)
    before = {name: p.clone() for name, p in student.named_parameters()}
    found = rehearse(student, BOTH, 32)
    assert [(r.format, r.quantization, r.problem) for r in found] == [
        ("onnx", "integer", ""), ("openvino", "qdq", ""),
    ]  # fmt: skip
    assert str(found[0]) == "onnx can be exported, for any size"
    assert all(torch.equal(p, before[name]) for name, p in student.named_parameters())


def test_a_student_in_float_is_tried_in_float() -> None:
    (found,) = rehearse(prepare(Own(), EXAMPLE, bits=None), ["onnx"], 32)
    assert (found.quantization, found.problem) == ("none", "")


@pytest.mark.filterwarnings("ignore:channels cannot be followed")
def test_an_operator_without_a_counterpart_is_named() -> None:
    found = rehearse(prepare(Unknown(), EXAMPLE), BOTH, 32)
    assert all("i0" in result.problem and "exported" in str(result) for result in found)


def test_a_file_of_a_single_size_says_why() -> None:
    (found,) = rehearse(prepare(Frozen(), EXAMPLE), ["onnx"], 64)
    assert found.sizes == "64x64 pixels only"
    assert "tracing froze" in found.restricted
    assert "64x64 pixels only: " in str(found)


def test_inspect_tries_the_same_in_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    report = inspect(Own(), 32, exports=["onnx"])
    (row,) = report["exports"]
    assert Rehearsal(**row) == rehearse(prepare(Own(), EXAMPLE), ["onnx"], 32)[0]
    print_report(report)
    assert str(Rehearsal(**row)) in capsys.readouterr().err


@pytest.mark.parametrize("formats", [("tflite",), ("onnx", "onnx"), ("",)])
def test_formats_are_known(formats: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="both as onnx,openvino; got"):
        check_exports(formats)
