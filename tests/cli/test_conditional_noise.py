"""A generator of noise and labels through every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan_slimming.cli import main

TESTS = Path(__file__).parents[1]
OWN = ["--generator", "own_data:tagged"]
QUICK = [
    "--budget.macs", "0.6", "--steps", "4", "--batch-size", "2", "--latents", "20", "--holdout",
    "4", "--device", "cpu", "--precision", "32-true", "--threads", "1",
]  # fmt: skip
Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.filterwarnings(
    "ignore::gan_slimming.serialization.resolve.RandomWeightsWarning",
    "ignore::gan_slimming.export.export_model.ExportWarning",
    "ignore::gan_slimming.training.setup.TestTimeWarning",
)


def ok(capsys: Capture, *words: str) -> dict[str, Any]:
    assert main(list(words)) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_noise_with_labels_goes_through_every_command(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(TESTS)
    summary = ok(capsys, "compress", *OWN, "--output", "run", *QUICK, "--export", "onnx")
    assert summary["macs"] <= 0.6 * summary["teacher_macs"]
    for model, image in (("run", "torch.png"), ("run/generator.onnx", "file.png")):
        own = OWN if model == "run" else []
        ok(capsys, "sample", model, *own, "--count", "4", "--output", image)
    pair = [np.asarray(Image.open(name), np.float32) for name in ("torch.png", "file.png")]
    assert np.abs(pair[0] - pair[1]).mean() < 3
    assert pair[0].std() > 3
    line = ["evaluate", "run/generator.onnx", *OWN, "--teacher", "run", "--metrics", "psnr"]
    assert ok(capsys, *line, "--count", "4")["results"][0]["value"] > 25
