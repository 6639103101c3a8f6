"""export, benchmark and translate --runtime, on a tiny student."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import gan_slimming as gs
from gan_slimming.data.image_files import read_image, write_image
from gan_slimming.errors import UserError
from gan_slimming.export.export_model import ExportWarning, check_format
from gan_slimming.export.export_model import export_model as export
from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.serialization.generator_file import save_generator

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from gan_slimming.runtime.sessions import open_runtime  # noqa: E402
from gan_slimming.workflows.benchmark import benchmark, print_table  # noqa: E402
from gan_slimming.workflows.translate import translate  # noqa: E402


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A quantised CartoonGAN of width 4 with one block, as a file."""
    teacher = build_generator("cartoongan", width=4, blocks=1).eval()
    prepared = gs.prepare(teacher, (torch.zeros(1, 3, 32, 32),))
    gs.calibrate(prepared, [(torch.rand(1, 3, 32, 32) * 2 - 1,)])
    path = tmp_path / "generator.safetensors"
    save_generator(gs.extract(prepared), path, spec_of(teacher), provenance={"seed": 7})
    return path


@pytest.mark.parametrize(
    ("name", "form", "runtimes"),
    [
        ("g.onnx", "qdq", {"onnxruntime", "openvino"}),
        ("g.onnx", "float", {"onnxruntime", "openvino"}),
        ("g.onnx", "integer", {"onnxruntime"}),
        ("g.xml", None, {"openvino"}),
    ],
)
def test_a_saved_student_becomes_a_file(
    saved: Path, tmp_path: Path, name: str, form: str | None, runtimes: set[str]
) -> None:
    output = tmp_path / "made" / name
    told = export(saved, output, quantization=form, size=32)
    files = list((tmp_path / "made").iterdir())
    assert told["size_bytes"] == sum(file.stat().st_size for file in files)
    assert {file.name for file in files} == ({"g.xml", "g.bin"} if ".xml" in name else {name})
    assert told["form"] == (form or "qdq")
    assert set(told["parity"]) == runtimes
    assert told["float_layers"] == []
    if told["form"] == "qdq":
        assert sum(told["convolutions"].values()) == told["quantized_layers"] == 12
        assert set(told["convolutions"]) <= {"i8", "u8"}
    opened = open_runtime(output)
    assert opened.contract == spec_of(gs.load_generator_file(saved)).contract
    assert opened.metadata["provenance"]["seed"] == 7
    assert opened.metadata["provenance"]["source"] == "generator.safetensors"


def test_a_generator_without_quantisers_is_exported_in_float(
    tiny_cyclegan: nn.Module, tmp_path: Path
) -> None:
    told = gs.export(tiny_cyclegan, tmp_path / "g.onnx", size=32)
    assert (told["form"], told["quantized_layers"]) == ("float", 0)
    assert max(row["error"] for row in told["parity"].values()) < 1e-4
    with pytest.raises(UserError, match="no quantised layers for --quantization qdq; take none"):
        gs.export(tiny_cyclegan, tmp_path / "h.onnx", quantization="qdq")
    assert not (tmp_path / "h.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("g.onnx", "tflite", None),
            "format 'tflite'; take --format onnx, openvino, executorch, litert or",
        ),
        (("g.bin", None, None), "g.bin names no format"),
        (("g.onnx", "openvino", None), "openvino files end in .xml, got g.onnx"),
        (("g.onnx", None, "int4"), "quantization must be qdq, integer, none, got 'int4'"),
        (("g.xml", None, "integer"), "quantization integer is for ONNX Runtime"),
    ],
)
def test_formats_and_forms_that_do_not_exist(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(UserError) as caught:
        check_format(Path(arguments[0]), *arguments[1:])
    assert text in str(caught.value)


def test_translate_pads_and_crops_in_every_runtime(saved: Path, tmp_path: Path) -> None:
    image = tmp_path / "in" / "a.png"
    image.parent.mkdir()
    write_image(image, torch.rand(3, 5, 31) * 2 - 1)
    export(saved, tmp_path / "g.xml", size=32)
    made = {}
    for model, runtime in ((saved, "torch"), (saved, "onnxruntime"), (saved, "openvino"),
                           (tmp_path / "g.xml", None)):  # fmt: skip
        folder = tmp_path / f"out-{len(made)}"
        told = translate(model, [image], folder, runtime=runtime, threads=1)
        assert told["translated"] == 1
        made[told["model"]] = read_image(folder / "a.png").rgb
    reference, *others = made.values()
    assert reference.shape == (3, 5, 31)
    assert len(others) == 3
    for other in others:
        assert float((other - reference).abs().mean()) < 0.02


def test_an_exported_file_says_who_runs_it_and_torch_does_not(saved: Path, tmp_path: Path) -> None:
    with pytest.warns(ExportWarning, match="ONNX Runtime in float; .* add --quantization integer"):
        export(saved, tmp_path / "g.onnx", size=32)
    write_image(tmp_path / "a.png", torch.zeros(3, 8, 8))
    with pytest.raises(UserError, match="an exported file, which torch cannot run"):
        translate(tmp_path / "g.onnx", [tmp_path / "a.png"], tmp_path / "out", runtime="torch")


def test_benchmark_measures_every_model_in_its_runtimes(
    saved: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, small in (("CHANNELS", 16), ("SIZE", 32), ("LAYERS", 2)):
        monkeypatch.setattr(f"gan_slimming.export.benchmark_jobs.CEILING_{name}", small)
    export(saved, tmp_path / "g.xml", size=32)
    models = [str(saved), str(tmp_path / "g.xml")]
    told = benchmark(models, size=32, threads=1, rounds=1, layers=True)
    rows = told["measurements"]
    found = [(row["model"] == models[0], row["runtime"], row["precision"]) for row in rows]
    assert found == [
        (True, "torch", "f32"),
        (True, "onnxruntime", "f32"),
        (True, "onnxruntime", "int8"),
        (True, "openvino", "f32"),
        (True, "openvino", "int8"),
        (False, "openvino", "int8"),
    ]
    assert len({row["macs"] for row in rows}) == 1
    assert all(row["latency_ms"] > 0 and row["runs"] == 3 for row in rows)
    assert [row["float_layers"] for row in rows if row["runtime"] == "openvino"][1:] == [[], []]
    assert len(rows[1]["float_layers"]) == 12  # ONNX Runtime names what it runs in float
    assert rows[2]["float_layers"] == []
    assert set(told["ceilings"]) == {"f32", "int8"}
    assert all(rate > 0 for rate in told["ceilings"].values())
    share = rows[-1]["gmacs_per_second"] / told["ceilings"]["int8"]
    assert rows[-1]["of_ceiling"] == pytest.approx(share)
    assert {"name", "kind", "kernel", "latency_ms"} == set(rows[-1]["layers"][0])
    print_table(told)
    assert "openvino" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"runtimes": ["tflite"]}, "--runtimes must be of torch, torch.compile, onnxruntime"),
        (
            {"precisions": ["int4"]},
            "--precisions must be of f32, bf16, int8, int8-bf16; got 'int4'",
        ),
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"runtimes": ["torch"], "precisions": ["int8"]}, "nothing to measure"),
    ],
)
def test_benchmark_refuses(saved: Path, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as caught:
        benchmark([str(saved)], size=32, **settings)
    assert text in str(caught.value)


def test_other_kinds_of_cpu_are_told_of_and_their_float_layers_warned_of(
    monkeypatch: pytest.MonkeyPatch, saved: Path, tmp_path: Path
) -> None:
    told = {"": (), "AVX2": ("a", "b")}
    monkeypatch.setattr("gan_slimming.runtime.kernel_verdicts.kinds_of_cpu", lambda: ["AVX2"])
    monkeypatch.setattr(
        "gan_slimming.runtime.kernel_verdicts.wrong_layers", lambda *_, kind="", **__: told[kind]
    )
    monkeypatch.setattr("gan_slimming.runtime.kernel_verdicts.paths_of", lambda _, names: names)
    with pytest.warns(ExportWarning, match=r"AVX2: 2 layer\(s\) \(a, b\)"):
        report = export(saved, tmp_path / "g.xml", size=32)
    assert report["cpus"] == {"own": [], "AVX2": ["a", "b"]}
    assert export(saved, tmp_path / "h.xml", size=32, cpus="own")["cpus"] == {"own": []}


def test_the_old_name_of_quantization_still_works(tiny_cyclegan: nn.Module, tmp_path: Path) -> None:
    with pytest.warns(FutureWarning, match="form is called quantization now"):
        told = gs.export(tiny_cyclegan, tmp_path / "g.onnx", form="float", size=32)  # pyright: ignore[reportCallIssue]
    assert (told["form"], told["quantization"]) == ("float", "none")
    assert open_runtime(tmp_path / "g.onnx").metadata["form"] == "float"  # as in every version


@pytest.mark.parametrize(("name", "present"), [("g.onnx", "g.onnx"), ("g.xml", "g.xml"),
                                               ("g.xml", "g.bin")])  # fmt: skip
def test_files_that_exist_are_not_replaced_unasked(
    saved: Path, tmp_path: Path, name: str, present: str
) -> None:
    (tmp_path / present).write_text("mine")
    with pytest.raises(UserError, match=f"{present} exists already; replace it with --overwrite"):
        export(saved, tmp_path / name, quantization="none")
    assert (tmp_path / present).read_text() == "mine"
    export(saved, tmp_path / name, quantization="none", overwrite=True)
    assert (tmp_path / present).read_bytes() != b"mine"
