"""Opening exported files: one clear line for every mistake."""

import os
from pathlib import Path

import pytest

from gan_slimming.errors import UserError
from gan_slimming.runtime import sessions as runtimes
from gan_slimming.runtime.sessions import open_runtime, require


def test_files_and_runtimes_that_do_not_go_together(tmp_path: Path) -> None:
    onnx, ir, other = (tmp_path / name for name in ("a.onnx", "a.xml", "a.txt"))
    for file in (onnx, ir, other):
        file.write_text("no model")
    with pytest.raises(UserError, match=r"absent.onnx does not exist; give a file that `export`"):
        open_runtime(tmp_path / "absent.onnx")
    with pytest.raises(UserError, match=r"a.txt is no .onnx, .xml, .pte or .tflite"):
        open_runtime(other)
    with pytest.raises(UserError, match="runtime must be one of onnxruntime, openvino, exec"):
        open_runtime(onnx, "tflite")
    with pytest.raises(UserError, match="is OpenVINO's format; take --runtime openvino"):
        open_runtime(ir, "onnxruntime")
    program = tmp_path / "a.pte"
    program.write_text("no model")
    with pytest.raises(UserError, match=r"a.pte is ExecuTorch's format; leave --runtime"):
        open_runtime(program, "onnxruntime")
    with pytest.raises(UserError, match="onnxruntime has no precision bf16; take f32"):
        open_runtime(onnx, "onnxruntime", precision="bf16")


def test_a_missing_package_is_named_with_the_remedy() -> None:
    with pytest.raises(UserError, match=r"no_such_runtime is not installed; pip install 'gan-sl"):
        require("json", "no_such_runtime")


def test_executorch_has_an_extra_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"executorch is not .*pip install 'gan-slimming\[exec"):
        require("executorch")
    with pytest.raises(UserError, match=r"onnx is not .*pip install 'gan-slimming\[export"):
        require("onnx")


@pytest.mark.parametrize(
    ("runtime", "suffix"),
    [("onnxruntime", "onnx"), ("openvino", "xml"), ("executorch", "pte"), ("litert", "tflite")],
)
def test_a_file_that_is_no_model(runtime: str, suffix: str, tmp_path: Path) -> None:
    package = {"litert": "ai_edge_litert"}.get(runtime, runtime)
    pytest.importorskip(package, reason=f"{package} is not installed")
    file = tmp_path / f"a.{suffix}"
    file.write_text("no model")
    if suffix == "xml":
        with pytest.raises(UserError, match=r"a.xml has no weights: a.bin is missing beside it"):
            open_runtime(file)
        file.with_suffix(".bin").touch()
    with pytest.raises(UserError, match=rf"{runtime} cannot open .*a.{suffix} \(.*export it again"):
        open_runtime(file)


def test_both_runtimes_are_offered() -> None:
    assert runtimes.RUNTIMES == ("onnxruntime", "openvino")
    assert runtimes.runtimes_of(".onnx") == runtimes.RUNTIMES
    assert runtimes.runtimes_of(".PTE") == ("executorch",)


def test_cpus_are_counted_where_the_system_knows_no_affinity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 1 <= runtimes.available_cpus() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert runtimes.available_cpus() == 6
