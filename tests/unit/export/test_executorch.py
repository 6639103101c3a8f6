"""export --format executorch: the file computes what the student does, in its own runtime."""

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
from gan_slimming.export.placement import in_runtime, is_exported, write_for
from gan_slimming.runtime.sessions import open_runtime
from gan_slimming.workflows.benchmark import benchmark

SIDE = 16


def test_the_format_is_known_by_its_suffix() -> None:
    assert check_format(Path("a.pte"), None, None) == "executorch"
    assert is_exported("a.pte")
    with pytest.raises(UserError, match=r"executorch files end in .pte, got a.onnx"):
        check_format(Path("a.onnx"), "executorch", None)
    with pytest.raises(UserError, match="take --quantization qdq, which ExecuTorch runs in int8"):
        check_format(Path("a.pte"), None, "integer")


def test_without_executorch_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'gan-slimming\[executorch\]'"):
        export_model(made(), tmp_path / "g.pte", size=SIDE)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path, dict[str, Any]]:
    """Return a student, its .pte file, and the report."""
    pytest.importorskip("executorch", reason="executorch is not installed")
    student, path = made(), tmp_path_factory.mktemp("pte") / "g.pte"
    return student, path, export_model(student, path, size=SIDE)


def test_the_report_names_what_is_not_in_int8_and_what_is_outside(
    exported: tuple[nn.Module, Path, dict[str, Any]],
) -> None:
    _, path, told = exported
    assert (told["format"], told["quantization"], told["opset"]) == ("executorch", "qdq", None)
    assert told["size_bytes"] == path.stat().st_size
    assert told["float_layers"] == ["depthwise"]
    assert told["sizes"] == "16x16 pixels only"
    assert [(row["operator"], row["values"]) for row in told["outside"]] == [("avg_pool2d", 768)]
    assert told["parity"]["executorch"]["error"] <= 1e-5


def test_its_image_is_the_students(exported: tuple[nn.Module, Path, dict[str, Any]]) -> None:
    student, path, _ = exported
    image = torch.rand(1, 3, SIDE, SIDE) * 2 - 1
    opened = open_runtime(path, threads=1)
    assert opened.contract.size == SIDE
    assert opened.metadata["quantized_layers"] == 6
    with torch.no_grad():
        expected = student(image).numpy()
    result = opened(image.numpy())
    assert np.abs(result - expected).mean() < 0.02 * expected.std()


def test_an_image_of_another_size_is_padded_or_refused(
    exported: tuple[nn.Module, Path, dict[str, Any]],
) -> None:
    generator = in_runtime(exported[1], None, 1)
    adapter = GeneratorAdapter(generator, generator.contract)
    assert run_padded(adapter, torch.zeros(1, 3, 12, 10)).shape == (1, 3, 12, 10)
    with pytest.raises(UserError, match="takes images of 16x16 pixels only, got"):
        run_padded(adapter, torch.zeros(1, 3, 18, 10))
    with pytest.raises(UserError, match="takes images of 16x16 pixels only, got size 32"):
        benchmark([str(exported[1])], size=32, threads=1, rounds=1)


def test_an_operator_without_a_kernel_is_named_with_its_layer() -> None:
    pytest.importorskip("executorch", reason="executorch is not installed")
    from gan_slimming.export.executorch import check_kernels

    check_kernels([{"operator": "avg_pool2d", "layer": "", "values": 1}])
    with pytest.raises(UserError, match=r"no kernel for no_such in blocks.0; take --format onnx"):
        check_kernels([{"operator": "no_such", "layer": "blocks.0", "values": 1}])


def test_a_size_is_needed_for_a_generator_in_executorch(tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="executorch is not installed")
    with pytest.raises(UserError, match=r"images of one size; write it by export --format exec"):
        write_for(Net().eval(), "executorch", "none", tmp_path)
