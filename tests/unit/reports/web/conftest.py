"""A tiny quantised student, a tiny generator of noise, and a runtime that is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

import gan_slimming as gs
from gan_slimming.models.registry import build_generator
from gan_slimming.reports.web import runtime_files


@pytest.fixture(scope="session")
def student() -> nn.Module:
    """CartoonGAN's generator of width 6 with 2 blocks and calibrated 8-bit quantisers."""
    torch.manual_seed(0)
    teacher = build_generator("cartoongan", width=6, blocks=2).eval()
    for parameter in teacher.parameters():
        nn.init.normal_(parameter, std=0.2)
    prepared = gs.prepare(teacher, (torch.zeros(1, 3, 32, 32),))
    gs.calibrate(prepared, [(torch.rand(2, 3, 32, 32) * 2 - 1,)])
    small = gs.extract(prepared)
    small.__dict__["spec"] = teacher.spec
    return small


@pytest.fixture
def fake_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small files in place of onnxruntime-web's."""
    folder = tmp_path / "dist"
    folder.mkdir()
    table = {
        backend: {name: hashlib.sha256(name.encode()).hexdigest() for name in files}
        for backend, files in runtime_files.FILES.items()
    }
    for name in (n for files in table.values() for n in files):
        (folder / name).write_text(name)
    monkeypatch.setattr(runtime_files, "FILES", table)
    return folder
