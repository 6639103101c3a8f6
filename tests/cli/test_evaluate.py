"""evaluate from the command line: JSON on stdout, a table on stderr, flags, exported files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gan_slimming.cli import main
from gan_slimming.metrics.catalogue import METRICS
from gan_slimming.models import build_generator, spec_of
from gan_slimming.serialization.generator_file import save_generator

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    generator = build_generator("cartoongan", width=2, blocks=1).eval()
    save_generator(generator, tmp_path / "run" / "generator.safetensors", spec_of(generator))
    return tmp_path / "run"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (32, 32), (60 * number, 90, 20)).save(folder / f"{number}.jpg")
    return folder


def last_line(capsys: Capture) -> tuple[dict[str, Any], str]:
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    return json.loads(out), err


def test_one_object_and_one_table(run: Path, photos: Path, tmp_path: Path, capsys: Capture) -> None:
    table = tmp_path / "table.md"
    line = ["evaluate", str(run), str(photos), "--data", str(photos), "--teacher", str(run)]
    assert main([*line, "--metrics", "psnr, l1", "--device", "cpu", "--output", str(table)]) == 0
    result, err = last_line(capsys)
    assert [(row["model"], row["metric"]) for row in result["results"]] == [
        (str(run), "psnr"), (str(run), "l1"), (str(photos), "psnr"), (str(photos), "l1"),
    ]  # fmt: skip
    keys = {"model", "metric", "value", "low", "high", "protocol", "direction", "unit", "images"}
    assert all(set(row) == keys for row in result["results"])
    assert result["results"][1]["value"] == 0
    assert result["models"][0]["size_bytes"] == (run / "generator.safetensors").stat().st_size
    assert "psnr (higher is better, dB)" in err
    assert "3 images of" in err
    assert "run: equal to the teacher on every image." in " ".join(err.split())
    assert table.read_text().startswith("|  | run | photos |")
    assert main([*line, "--metrics", "psnr", "--output", str(table)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_full_disk_does_not_cost_the_result(
    run: Path, photos: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gan_slimming.data.report_files.write_atomically", full)
    table = tmp_path / "table.json"
    line = ["evaluate", str(run), "--data", str(photos), "--teacher", str(run), "--device", "cpu"]
    assert main([*line, "--metrics", "l1", "--output", str(table)]) == 2
    result, err = last_line(capsys)
    assert result["results"][0]["value"] == 0
    assert result["output"] is None
    told = [text for text in err.splitlines() if text.startswith("error: ")]
    assert told == [f"error: cannot write {table} (No space left on device); name another --output;"
                    " the result is on stdout alone"]  # fmt: skip
    assert not table.exists()


@pytest.mark.parametrize("name", ["model.onnx", "model.xml"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_exported_files_in_their_runtime(
    run: Path, photos: Path, tmp_path: Path, name: str, capsys: Capture
) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    file = tmp_path / name
    assert main(["export", str(run), "--output", str(file)]) == 0
    capsys.readouterr()
    line = [
        "evaluate",
        str(file),
        "--data",
        str(photos),
        "--teacher",
        str(run),
        "--metrics",
        "psnr",
    ]
    assert main(line) == 0
    result, _ = last_line(capsys)
    assert result["results"][0]["value"] > 45  # equal but for rounding to 8 bits
    assert result["models"][0]["size_bytes"] > 0
    assert result["models"][0]["macs"] > 0


def test_latency_where_asked(run: Path, photos: Path, capsys: Capture) -> None:
    line = ["evaluate", str(run), "--data", str(photos), "--teacher", str(run), "--metrics", "l1"]
    assert main([*line, "--latency", "--threads", "1"]) == 0
    result, err = last_line(capsys)
    assert result["models"][0]["latency_ms"] > 0
    assert "ms for one image" in err


def test_class_is_short_for_target_class(photos: Path, capsys: Capture) -> None:
    line = ["evaluate", str(photos), "--metrics", "class_rate", "--class", "12345"]
    assert main(line) == 2
    err = capsys.readouterr().err
    assert (
        "classes 0 to 999, got 12345" in err
        or "no weights for squeezenet" in err
        or ("cannot download" in err)
    )


def test_help_names_every_metric(capsys: Capture) -> None:
    assert main(["evaluate", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace(",", " ").split())
    assert all(f" {name} " in text for name in METRICS)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("evaluate", "MODELS missing"),
        ("evaluate absent", "no such model: absent"),
        ("evaluate PHOTOS", "there is nothing to compare with"),
        ("evaluate PHOTOS --split some", "--split must be all, held; got some"),
        ("evaluate PHOTOS --targets absent", "absent does not exist; give a folder of images"),
        ("evaluate PHOTOS --teacher PHOTOS --output t.txt", "t.txt must end in .json, .md, .csv"),
        ("evaluate PHOTOS --teacher PHOTOS --metrics lpip", "metrics are lpips"),
    ],
)
def test_mistakes(photos: Path, line: str, text: str, capsys: Capture) -> None:
    words = line.replace("PHOTOS", str(photos)).split()
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert text in err
    assert err.count("\n") == 1
