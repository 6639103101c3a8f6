"""The exported files of a run: refused before its first step, written at its end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import Objective, Optimisation, Run
from gan_slimming.errors import UserError
from gan_slimming.serialization.run_folder import RunFolder

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from gan_slimming.export.export_model import ExportWarning  # noqa: E402
from gan_slimming.runtime.sessions import open_runtime  # noqa: E402
from gan_slimming.workflows.run_exports import write_exports  # noqa: E402

RUN = Run(
    budget=gs.Budget(macs=0.5),
    objective=Objective(distill="l1"),
    optimisation=Optimisation(steps=2, slim_share=0.5, half_size_share=0),
    size=32, holdout=2, device="cpu", precision="32-true", threads=1, exports=("onnx",),
)  # fmt: skip


class Net(nn.Module):
    def __init__(self, unknown: bool = False) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        self.unknown = unknown

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.last(torch.special.i0(x.clamp(-1, 1)) if self.unknown else x)


def test_a_run_writes_its_files_and_replaces_them(photos: Path, tmp_path: Path) -> None:
    done = gs.compress(Net(), photos, tmp_path / "run", RUN)
    (told,) = done.summary["exports"]
    folder = RunFolder(tmp_path / "run")
    assert told["output"] == str(folder.exports["onnx"])
    assert told["quantization"] == "integer"
    opened = open_runtime(folder.exports["onnx"], threads=1)
    assert opened.metadata["provenance"]["seed"] == RUN.seed
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert abs(opened(image.numpy()) - done.generator(image).numpy()).mean() < 0.02
    assert folder.read_config()[0].exports == RUN.exports
    gs.compress(Net(), photos, tmp_path / "run", RUN, exports=(), overwrite=True)
    assert not folder.exports["onnx"].exists()


@pytest.mark.filterwarnings("ignore:channels cannot be followed")
def test_a_file_that_cannot_be_is_refused_before_the_first_step(
    photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"onnx cannot be exported: .*leave onnx out of --export"):
        gs.compress(Net(unknown=True), photos, tmp_path / "run", RUN)
    assert not (tmp_path / "run").exists()
    done = gs.compress(
        Net(unknown=True), photos, tmp_path / "run", RUN, exports=(), budget=gs.Budget()
    )
    assert "exports" not in done.summary


@pytest.mark.filterwarnings("ignore:channels cannot be followed")
def test_a_file_that_fails_in_the_end_costs_nothing(tmp_path: Path) -> None:
    with pytest.warns(ExportWarning, match="is not written .*; the run itself is complete"):
        assert write_exports(RunFolder(tmp_path), ["onnx"], Net(unknown=True).eval()) == []
