"""The shapes of a run's records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.run_folders import finished_run

from gan_slimming.errors import UserError
from gan_slimming.reports import record_shapes as shapes
from gan_slimming.reports.record_shapes import fits
from gan_slimming.reports.run import report
from gan_slimming.serialization.run_folder import RunFolder


def test_what_a_run_writes_fits(tmp_path: Path) -> None:
    folder = RunFolder(finished_run(tmp_path / "run"))
    assert fits(folder.read_config()[1], shapes.CONFIG)
    files = {folder.summary: shapes.SUMMARY, folder.ranges: shapes.RANGES,
             folder.layers: shapes.LAYERS}  # fmt: skip
    for file, shape in files.items():
        assert fits(json.loads(file.read_text()), shape)
    summary = json.loads(folder.summary.read_text())
    exports = [{"format": "onnx", "parity": {"onnxruntime": {"error": 0.1}}, "float_layers": []}]
    assert fits(summary | {"exports": exports}, shapes.SUMMARY)
    assert not fits(summary | {"exports": 3}, shapes.SUMMARY)


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        (3, float, True), (1e300, float, False), (float("nan"), float, False),
        (10**400, float, False), ("3", float, False), (None, (float, None), True),
        ([1, 2.5], [float], True), ([1, []], [float], False), ({}, {"a": float}, False),
        ({}, {"a?": float}, True), ({"a": 1, "b": "x"}, {"a": float}, True),
        ({"a": 1, "b": "x"}, {"a": float, ...: float}, False), ({5: 1}, {...: float}, False),
    ],
)  # fmt: skip
def test_shapes(value: Any, shape: Any, expected: bool) -> None:
    assert fits(value, shape) is expected


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("summary.json", {"lpips": []}), ("summary.json", {"seconds": "long"}),
        ("summary.json", {"target": {"text": 5}}), ("summary.json", {"macs": 10**400}),
        ("layers.json", {"teacher": [{"name": [], "kind": "", "macs": 1, "parameters": 1}]}),
        ("benchmark.json", {"measurements": [{"latency_ms": 5}]}),
    ],
)  # fmt: skip
def test_a_record_of_another_shape_is_left_out_and_named(
    tmp_path: Path, name: str, change: dict[str, Any]
) -> None:
    folder = finished_run(tmp_path / "run")
    file = folder / name
    before = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(before | change))
    report(folder)
    assert f"{name} is damaged and left out." in (folder / "report.html").read_text()


@pytest.mark.parametrize("line", [{"psnr": [30]}, {"seconds": "x"}, {"step": {}}, {"rho": "1"}])
def test_a_line_of_another_shape_is_left_out(tmp_path: Path, line: dict[str, Any]) -> None:
    folder = finished_run(tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"step": 41, "seconds": 1.0} | line) + "\n")
    assert report(folder)["steps"] == 40


@pytest.mark.parametrize("channels", [[], {"first": "x"}, {"first": 0}])
def test_channels_that_are_no_counts_are_damage(tmp_path: Path, channels: Any) -> None:
    folder = RunFolder(finished_run(tmp_path / "run"))
    folder.write_config(folder.read_config()[1] | {"channels": channels})
    with pytest.raises(UserError, match=r"config\.yaml (is|cannot be)"):
        report(folder.path)
