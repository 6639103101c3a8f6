"""web: what is written, what is reported, and what is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import nn

from gan_slimming.cli import main
from gan_slimming.errors import UserError
from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.reports.web.page_folder import MARKER
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.workflows.web import web


def test_a_page_has_its_files_and_says_their_sizes(
    student: nn.Module,
    tiny_cartoongan: nn.Module,
    fake_runtime: Path,
    tmp_path: Path,
) -> None:
    page = tmp_path / "page"
    report = web(student, page, teacher=tiny_cartoongan, title="A & B", runtime=fake_runtime)
    files = {p.relative_to(page).as_posix(): p for p in page.rglob("*") if p.is_file()}
    assert {"index.html", "student.onnx", "student-webgpu.onnx", "teacher.onnx",
            "runtime/LICENSE.txt", "runtime/ort.wasm.min.mjs", MARKER} <= set(files)  # fmt: skip
    sizes = {name: p.stat().st_size for name, p in files.items() if name != MARKER}
    assert report["size_bytes"] == sum(sizes.values())
    assert report["student"]["bytes"]["wasm"] == sizes["student.onnx"]
    assert report["url"] is None
    config = json.loads(files["config.json"].read_text())
    assert (config["title"], config["size"]) == ("A & B", 512)
    for entry in config["runtime"]["backends"].values():
        assert {name: sizes[name] for name in entry["files"]} == entry["files"]
    worker = files["sw.js"].read_text()
    assert f"${{PREFIX}}{config['build']}`" in worker
    kept = set(worker.partition("const PAGE = [")[2].partition("]")[0].split('"')[1::2])
    assert kept - {"./"} <= set(files)
    assert {p.name for p in page.iterdir() if p.suffix in (".js", ".css")} - {"sw.js"} <= kept


def test_the_command_writes_a_page_once(
    fake_runtime: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = build_generator("cartoongan", width=4, blocks=1).eval()
    saved = tmp_path / "hayao" / "generator.safetensors"
    saved.parent.mkdir()
    save_generator(small, saved, spec_of(small))
    words = ["web", str(saved), "--output", str(tmp_path / "page"),
             "--runtime-files", str(fake_runtime)]  # fmt: skip
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["title"], report["teacher"]) == ("hayao", None)
    assert main(words) == 2
    assert "holds a page already; replace it with --overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_mistakes_are_told_before_any_work(
    tiny_cartoongan: nn.Module,
    fake_runtime: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds other files than a page's"):
        web(tiny_cartoongan, tmp_path, runtime=fake_runtime, overwrite=True)
    with pytest.raises(UserError, match=r"size must be"):
        web(tiny_cartoongan, tmp_path / "page", runtime=fake_runtime, size=0)
    with pytest.raises(UserError, match=r"cannot be read"):
        web(tiny_cartoongan, tmp_path / "page", runtime=tmp_path / "none")
    assert not (tmp_path / "page").exists()
