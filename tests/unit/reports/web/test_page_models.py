"""The models of a page: their forms, and generators that no page can run."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from gan_slimming.config import ExtraInput, InputContract
from gan_slimming.errors import UserError
from gan_slimming.export.export_model import export_model
from gan_slimming.models.registry import build_generator
from gan_slimming.reports.web import page_models as module
from gan_slimming.reports.web.page_models import check_pair, exported_model, page_model


def test_a_quantised_student_has_a_form_for_each_backend(student: nn.Module) -> None:
    made = page_model(student)
    record = made.record("student")
    assert (made.form, record["form"]) == ("integer", "integer")
    assert record["files"]["wasm"]["path"] == "student.onnx"
    assert record["files"]["webgpu"]["path"] == "student-webgpu.onnx"
    assert {name: len(content) for name, content in made.files("student").items()} == {
        file["path"]: file["bytes"] for file in record["files"].values()
    }
    assert record["contract"]["multiple_of"] == 4
    assert made.parity["onnxruntime"]["error"] < 1e-5


def test_a_float_generator_has_one_file(tiny_cartoongan: nn.Module) -> None:
    made = page_model(tiny_cartoongan)
    assert made.form == "float"
    assert list(made.files("teacher")) == ["teacher.onnx"]
    assert set(made.record("teacher")["files"]) == {"wasm", "webgpu"}


def test_exported_files_are_taken_as_they_are(student: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    export_model(student, path, quantization="integer", fixed_size=True, size=32)
    made = exported_model(path)
    assert made.contents == {"wasm": path.read_bytes()}  # integers are not for WebGPU
    assert made.contract.size == 32


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(UserError, match=r"other.onnx is no ONNX file"):
        exported_model(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"was not written by gan-slimming export"):
        exported_model(path)
    with pytest.raises(UserError, match=r"is OpenVINO's format; export it as .onnx"):
        exported_model(tmp_path / "a.xml")
    with pytest.raises(UserError, match=r"cannot be read"):
        exported_model(tmp_path / "none.onnx")


def test_generators_that_no_page_can_run_are_refused(
    tiny_cartoongan: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"takes more than an image \(label\), for which"):
        module._check("mine", InputContract(extras=(ExtraInput("label", 3),)), 1)
    monkeypatch.setattr(module, "LIMIT_BYTES", 1 << 10)
    with pytest.raises(UserError, match=r"as ONNX, a browser's tab holds .* compress it first"):
        page_model(tiny_cartoongan)


def test_a_teacher_of_another_kind_is_refused(tiny_cartoongan: nn.Module) -> None:
    noise = page_model(build_generator("dcgan", width=2).eval())
    images = page_model(tiny_cartoongan)
    check_pair(images, images)
    with pytest.raises(UserError, match=r"has latent_size .*, the student 0; name the teacher"):
        check_pair(images, noise)
