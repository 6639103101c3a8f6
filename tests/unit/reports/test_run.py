"""report: a page from a run folder, at any moment of the run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import yaml

from gan_slimming.config import Budget, Run
from gan_slimming.data.image_files import write_image
from gan_slimming.errors import UserError
from gan_slimming.models import build_generator, spec_of
from gan_slimming.reports.run import report
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.serialization.provenance import environment
from gan_slimming.serialization.run_folder import RunFolder

SUMMARY = {
    "teacher_macs": 2000,
    "macs": 100,
    "teacher_parameters": 900,
    "parameters": 60,
    "teacher_size_bytes": 3600,
    "size_bytes": 90,
    "bits": 8,
    "lpips": 0.25,
    "protocol": {"images": 16, "against": "the teacher's output in float32"},
}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run under way: settings, some steps, one of them cut short by a crash."""
    record = {
        "generator": {"name": "cartoongan", "arguments": {}},
        "channels": {"first": 8, "second": 4},
        "run": dataclasses.asdict(Run(budget=Budget(macs=0.05))),
        "environment": environment(),
    }
    RunFolder(tmp_path).write_config(record)
    lines = [{"step": s, "distance": 1 / s, "pixel": 0.1, "lpips": 0.5 / s} for s in (1, 2, 3)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 4, "dist')
    return tmp_path


def test_a_run_under_way_shows_how_far_it_is(run_folder: Path) -> None:
    result = report(run_folder)
    page = (run_folder / "report.html").read_text()
    assert result == {"report": str(run_folder / "report.html"), "steps": 3, "finished": False}
    assert "3 of 3000 steps done" in page
    assert page.count("<svg") == 2  # LPIPS, and the terms of the loss
    assert "http" not in page


def test_a_finished_run_shows_samples_figures_and_widths(run_folder: Path) -> None:
    (run_folder / "summary.json").write_text(json.dumps(SUMMARY))
    small = build_generator("cartoongan", width=2, blocks=1)
    kept = {"first": [1, 2, 5], "second": [0]}
    save_generator(small, run_folder / "generator.safetensors", spec_of(small), channel_map=kept)
    (run_folder / "samples").mkdir()
    strip = torch.linspace(-1, 1, 3 * 4 * 12).reshape(3, 4, 12)
    write_image(run_folder / "samples" / "00_input_teacher_student.png", strip)
    page = run_folder / "elsewhere.html"
    result = report(run_folder, page)
    text = page.read_text()
    assert result["finished"]
    assert result["macs"] == 100
    assert "20.0 times less work, 40.0 times fewer bytes, in 8 bits" in text
    assert text.count("<img") == 3
    assert "0.25" in text
    assert "3 of 8" in text
    assert "1 of 4" in text
    assert "against the teacher&#39;s output in float32" in text


def test_samples_of_a_generator_of_noise_have_two_columns(run_folder: Path) -> None:
    (run_folder / "samples").mkdir()
    strip = torch.linspace(-1, 1, 3 * 4 * 8).reshape(3, 4, 8)
    write_image(run_folder / "samples" / "00_teacher_student.png", strip)
    report(run_folder)
    text = (run_folder / "report.html").read_text()
    assert text.count("<img") == 2
    assert "<div>teacher</div><div>student</div>" in text


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run folder: it has no config\.yaml"):
        report(tmp_path)


def test_the_settings_file_stays_what_it_was(run_folder: Path) -> None:
    before = (run_folder / "config.yaml").read_bytes()
    report(run_folder)
    assert (run_folder / "config.yaml").read_bytes() == before
    assert yaml.safe_load(before)["run"]["budget"]["macs"] == 0.05
