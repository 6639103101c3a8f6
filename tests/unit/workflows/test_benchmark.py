"""benchmark --matrix: what each runtime draws is judged, and what does not run is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gan_slimming as gs
from gan_slimming.data.image_files import write_image
from gan_slimming.errors import UserError
from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.runtime.latency import UNKNOWN, Latency
from gan_slimming.serialization.generator_file import save_generator

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from gan_slimming.export.offers import OFFERS, Offer  # noqa: E402
from gan_slimming.workflows import benchmark as module  # noqa: E402
from gan_slimming.workflows.benchmark import benchmark, print_matrix  # noqa: E402

INSTALLED = [name for name, offer in OFFERS.items() if offer.installed and name != "torch.compile"]
"""Runtimes that a table has without being asked: those above, and others where they are."""
matrix = partial(benchmark, matrix=True, size=32, threads=1)


def in_this_process(
    jobs: Sequence[Any], load: Callable[[Any], Any], **_: object
) -> list[tuple[Latency, dict[str, Any]]]:
    """Stand in for `measure`: one call of each job, without a process for each."""
    found: list[tuple[Latency, dict[str, Any]]] = []
    for job in jobs:
        try:
            call, report = load(job)
            call()
            found.append((Latency(1.0, 0.0, 1.0, 1.0, 1), {**report(), "peak_bytes": 2**20}))
        except UserError as error:
            found.append((UNKNOWN, {"problem": str(error)}))
    return found


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in this process; no test asserts a time."""
    monkeypatch.setattr(module, "measure", in_this_process)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the file of a quantised CartoonGAN of width 4 with one block."""
    torch.manual_seed(0)
    teacher = build_generator("cartoongan", width=4, blocks=1).eval()
    prepared = gs.prepare(teacher, (torch.zeros(1, 3, 32, 32),))
    gs.calibrate(prepared, [(torch.rand(1, 3, 32, 32) * 2 - 1,)])
    path = tmp_path_factory.mktemp("saved") / "generator.safetensors"
    save_generator(gs.extract(prepared), path, spec_of(teacher))
    return str(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three images."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        write_image(folder / f"{number}.png", torch.rand(3, 40, 48) * 2 - 1)
    return folder


def test_every_runtime_is_judged_by_what_it_draws(
    saved: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = matrix([saved], data=photos, count=2, output=tmp_path / "table.json")
    rows = {(row["runtime"], row["precision"]): row for row in told["measurements"]}
    others = [name for name in INSTALLED if name != "torch"]
    both = {(name, precision) for name in others for precision in ("f32", "int8")}
    assert set(rows) == {("torch", "f32"), *both}
    assert told["images"] == 2
    assert rows["torch", "f32"]["psnr"] == 100
    assert all(rows[runtime, "int8"]["psnr"] > 30 for runtime in others)
    assert all(row["problem"] is None and "images" not in row for row in rows.values())
    whole = len(rows["onnxruntime", "f32"]["float_layers"])
    for runtime in others:
        assert rows[runtime, "f32"]["int8_layers"] == []
        assert len(rows[runtime, "int8"]["int8_layers"]) == whole > 0
        assert rows[runtime, "int8"]["float_layers"] == []
    assert json.loads((tmp_path / "table.json").read_text())["images"] == 2
    print_matrix(told)
    assert "LPIPS and PSNR of 2 images" in capsys.readouterr().err


def test_an_exported_file_is_compared_with_its_reference(
    saved: str, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "g.onnx"
    gs.export(saved, file, quantization="none", size=32)
    with pytest.warns(module.QualityWarning, match="for exported files --reference"):
        alone = matrix([str(file)], data=photos, count=1)
    assert {row["psnr"] for row in alone["measurements"]} == {None}
    told = matrix([str(file)], data=photos, count=1, reference=saved, runtimes=["onnxruntime"])
    (row,) = told["measurements"]
    assert row["psnr"] > 40
    assert told["reference"] == saved


def test_what_cannot_run_has_a_row_with_the_reason(
    saved: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Path:
        raise UserError("no operator for this")

    def broken(_module: object, _precision: str, folder: Path, _side: int) -> Path:
        path = folder / "broken.onnx"
        path.write_bytes(b"nothing")
        return path

    offer = OFFERS["onnxruntime"]
    monkeypatch.setitem(OFFERS, "phone", replace(offer, precisions=("int8",), write=refuse))
    monkeypatch.setitem(OFFERS, "onnxruntime", replace(offer, precisions=("f32",), write=broken))
    told = matrix([saved], data=photos, count=1, runtimes=["torch", "phone", "onnxruntime"])
    works, phone, onnx = told["measurements"]
    assert works["problem"] is None
    assert phone["problem"] == "no operator for this"
    assert "onnxruntime cannot open" in onnx["problem"]
    assert phone["size_bytes"] is None
    with pytest.raises(UserError, match="no operator for this"):
        benchmark([saved], size=32, runtimes=["phone"], precisions=["int8"])


def test_all_runtimes_that_are_installed_are_taken(
    saved: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Offer(("f32",), OFFERS["torch"].layers, packages=("not_here",), extra="phone")
    monkeypatch.setitem(OFFERS, "phone", missing)
    told = matrix([saved], data=photos, count=1, precisions=["f32"])
    assert [row["runtime"] for row in told["measurements"]] == INSTALLED
    with pytest.raises(
        UserError, match=r"not_here is not installed; pip install 'gan-slimming\[ph"
    ):
        matrix([saved], runtimes=["phone"])


def test_noise_needs_no_photos(tmp_path: Path) -> None:
    generator = build_generator("dcgan", width=2).eval()
    path = tmp_path / "generator.safetensors"
    save_generator(generator, path, spec_of(generator))
    told = matrix([str(path)], count=3, runtimes=["torch", "onnxruntime"])
    assert told["images"] == 3
    assert [row["psnr"] > 40 for row in told["measurements"]] == [True, True]


def test_a_file_of_another_tool_with_weights_of_styles(photos: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "h", "w"])
    style = helper.make_tensor_value_info("style", TensorProto.FLOAT, [2])
    made = helper.make_tensor_value_info("made", TensorProto.FLOAT, [1, 3, "h", "w"])
    first = helper.make_tensor("zero", TensorProto.INT64, [], np.array([0]))
    nodes = [
        helper.make_node("Gather", ["style", "zero"], ["weight"], axis=0),
        helper.make_node("Mul", ["image", "weight"], ["made"]),
    ]
    graph = helper.make_graph(nodes, "g", [image, style], [made], [first])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, tmp_path / "peer.onnx")
    with (
        pytest.warns(module.QualityWarning, match="for exported files --reference"),
        pytest.warns(UserWarning, match="the first place of style"),
    ):
        told = matrix([str(tmp_path / "peer.onnx")], data=photos, count=1)
    assert [row["runtime"] for row in told["measurements"]] == ["onnxruntime", "openvino"]
    assert all(row["latency_ms"] == 1.0 for row in told["measurements"])


def test_mistakes_are_told_before_work(saved: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are for a device table; add --matrix"):
        benchmark([saved], data=photos)
    with pytest.raises(UserError, match=r"table.txt must end in .md, .html, .json"):
        matrix([saved], output=tmp_path / "table.txt")
    with pytest.raises(UserError, match=r"does not exist; give a folder of images"):
        matrix([saved], data=tmp_path / "absent")
