"""report: a page from a run folder, at any moment of the run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from tests.run_folders import STEPS, finished_run, run_under_way

from gan_slimming.data.image_files import write_image
from gan_slimming.errors import UserError
from gan_slimming.reports.run import report

NEW = ("gates.jsonl", "held_out.jsonl", "ranges.json", "layers.json")


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>([^<]*)</h2>", page)


def captions(page: str) -> list[str]:
    return re.findall(r"<figcaption><b>([^<]*)</b>", page)


def test_a_run_under_way_shows_how_far_it_is(tmp_path: Path) -> None:
    run_under_way(tmp_path, steps=30)
    result = report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert result == {"report": str(tmp_path / "report.html"), "steps": 30, "finished": False}
    assert f"30 of {STEPS} steps done" in page
    assert 'value="0.75"' in page
    assert headings(page) == ["Training", "Slimming", "Provenance"]
    assert "samples of a run are written when it ends" in page
    assert "damaged" not in page


def test_a_finished_run_shows_everything(tmp_path: Path) -> None:
    finished_run(tmp_path / "run")
    page = tmp_path / "elsewhere.html"
    result = report(tmp_path / "run", page)
    text = page.read_text()
    assert (result["report"], result["finished"], result["macs"]) == (str(page), True, 100)
    assert "20.0 times less work, 40.0 times fewer bytes, in 8 bits" in text
    assert headings(text) == [
        "Held-out images", "Every held-out image", "Training", "Slimming", "Layers", "Cost",
        "Provenance",
    ]  # fmt: skip
    assert captions(text) == [
        "LPIPS of each image", "FLIP of each image", "PSNR of each image",
        "LPIPS to the teacher", "PSNR to the teacher", "L1 to the teacher",
        "Distances in the loss", "The GAN game", "MACs while slimming",
        "Sparsity weight ρ", "Gates", "Channels left",
        "Channels kept", "Work by layer", "Activation ranges",
    ]  # fmt: skip
    assert text.count("<img") == 5 * 4
    for shown in ("0.25", "3 of 8", "1 of 4", "1.25%", "against the teacher&#39;s output",
                  "1.250%", "-0.5 to 0.4", "5.00%"):  # fmt: skip
        assert shown in text


def test_the_page_says_what_the_figures_mean(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run")
    file = folder / "summary.json"
    summary = json.loads(file.read_text())
    summary |= {"verdict": "equal to the teacher on every image", "ssim": 0.875, "dots": 0.5}
    summary["protocol"] = {"images": 5, "pictures": 5, "distance_trained_on": "lpips"}
    file.write_text(json.dumps(summary))
    report(folder)
    text = (folder / "report.html").read_text()
    assert "in 8 bits. Its outputs are equal to the teacher on every image." in text
    assert "Means over all held-out images" in text
    for cell in ("ssim (higher is better): structural", "0.875", "dots (lower is better, 8-bit le"):
        assert f">{cell}" in text
    assert "How quality was measured: images 5; distance trained on lpips." in text


def test_a_game_that_was_not_played_has_no_chart(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()[:-1]]
    still = [line | {"adversarial": 0.0, "critic": 0.0} for line in lines]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in still))
    report(folder)
    found = captions((folder / "report.html").read_text())
    assert "Distances in the loss" in found
    assert "The GAN game" not in found


def test_a_run_of_an_earlier_version_still_has_its_page(tmp_path: Path) -> None:
    finished_run(tmp_path)
    for name in NEW:
        (tmp_path / name).unlink()
    report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert captions(page)[-1] == "Channels kept"
    assert "Gates" not in captions(page)
    assert page.count("<img") == 5 * 4
    assert "PSNR, worst first" in page


def test_samples_of_a_generator_of_noise_have_no_input(tmp_path: Path) -> None:
    run_under_way(tmp_path)
    (tmp_path / "samples").mkdir()
    strip = torch.linspace(-1, 1, 3 * 4 * 8).reshape(3, 4, 8)
    write_image(tmp_path / "samples" / "00_teacher_student.png", strip)
    report(tmp_path)
    views = re.findall(r'data-view="([^"]*)"', (tmp_path / "report.html").read_text())
    assert views == ["teacher", "student", "difference ×4"]


def test_a_latency_that_was_measured_is_shown(tmp_path: Path) -> None:
    finished_run(tmp_path)
    rows = [{"model": "run", "runtime": "openvino", "precision": "int8", "latency_ms": 12.5,
             "spread": 0.5}]  # fmt: skip
    (tmp_path / "benchmark.json").write_text(
        json.dumps({"size": 256, "threads": 2, "measurements": rows})
    )
    report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Latency" in captions(page)
    assert "12.5 ms" in page


@pytest.mark.parametrize("name", [*NEW, "summary.json", "metrics.jsonl", "generator.safetensors"])
def test_damaged_files_are_left_out_and_named(tmp_path: Path, name: str) -> None:
    finished_run(tmp_path)
    (tmp_path / name).write_bytes(b'{"step": \xff\n[1, 2]\n')
    report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    (warning,) = re.findall(r'<p class="warning">([^<]*)</p>', page)
    assert name in warning
    assert "left out" in warning


def test_ranges_without_numbers_are_left_out_and_named(tmp_path: Path) -> None:
    finished_run(tmp_path)
    (row,) = json.loads((tmp_path / "ranges.json").read_text())
    (tmp_path / "ranges.json").write_text(json.dumps([row | {"clipped_low": None}]))
    report(tmp_path)
    assert "ranges.json is damaged and left out." in (tmp_path / "report.html").read_text()


def test_a_damaged_line_among_whole_ones_is_left_out(tmp_path: Path) -> None:
    run_under_way(tmp_path, steps=20)
    file = tmp_path / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    lines[4] = '{"step": 5, "dist\n'
    lines[9] = '{"distance": 1}\n'
    file.write_text("".join(lines))
    assert report(tmp_path)["steps"] == 20
    page = (tmp_path / "report.html").read_text()
    assert "2 lines are damaged in metrics.jsonl and left out." in page


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run folder: it has no config\.yaml"):
        report(tmp_path)


@pytest.mark.parametrize("text", ["a: [", "run: 5\n", "", "generator: {}\n"])
def test_settings_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml cannot be read"):
        report(tmp_path)


def test_the_settings_file_stays_what_it_was(tmp_path: Path) -> None:
    run_under_way(tmp_path)
    before = (tmp_path / "config.yaml").read_bytes()
    report(tmp_path)
    assert (tmp_path / "config.yaml").read_bytes() == before
    assert yaml.safe_load(before)["run"]["budget"]["macs"] == 0.05


def rewritten(folder: Path, **optimisation: object) -> None:
    """Let a run folder be of a run with a target of LPIPS, or by the clock."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["run"]["optimisation"] |= optimisation
    config["run"] |= {"budget": {}, "target": {"lpips": 0.1}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_a_run_by_the_clock_shows_how_much_of_its_time_is_over(tmp_path: Path) -> None:
    run_under_way(tmp_path, steps=30)
    rewritten(tmp_path, steps=None, minutes=60)
    with (tmp_path / "metrics.jsonl").open("w") as file:
        file.write(json.dumps({"step": 30, "progress": 0.25, "rho": 1.0}) + "\n")
    report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "30 steps, 25% of 60 minutes done." in page
    assert 'value="0.25"' in page


def test_a_run_with_a_target_shows_cost_against_quality(tmp_path: Path) -> None:
    finished_run(tmp_path)
    rewritten(tmp_path)
    looks = [(0, 2000, 0.01, 1), (10, 1400, 0.2, 0), (20, 1400, 0.08, 1), (30, 900, 0.3, 0)]
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write("\n")
        for step, macs, value, met in looks:
            line = {"step": step, "macs": macs, "lpips": value, "met": met}
            file.write(json.dumps(line) + "\n")
    summary = json.loads((tmp_path / "summary.json").read_text())
    summary["target"] = {"text": "target.lpips 0.1 is met, with 0.08 at 70.0%."}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "LPIPS against cost" in captions(page)
    assert "Target.lpips 0.1 is met, with 0.08 at 70.0%." in page
    assert "lpips 0.1</td>" in page
