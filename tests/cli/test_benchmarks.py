"""Scripts in benchmarks/ start, explain themselves and, where that takes seconds, run."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract

FOLDER = Path(__file__).parents[2] / "benchmarks"
PARTS = (
    "command",
    "fidelity_clock",
    "fidelity_judges",
    "fidelity_teachers",
    "fidelity_worker",
    "released",
    "trainer_steps",
)
"""Those that other scripts import or start."""
NEEDS = {"before_after": "skimage", "nncf": "openvino", "openvino_faults": "openvino",
         "device_table": "openvino", "runtimes": "openvino", "parity": "openvino",
         "browser": "selenium", "web_images": "selenium"}  # fmt: skip
"""Script -> what it imports beyond the package's own needs."""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a script in this process and returns its standard output."""

    def run(name: str, *arguments: str | Path) -> str:
        if name in NEEDS:
            pytest.importorskip(NEEDS[name])
        path = FOLDER / f"{name}.py"
        monkeypatch.syspath_prepend(str(FOLDER))
        monkeypatch.setattr("sys.argv", [str(path), *map(str, arguments)])
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in PARTS)
)
def test_each_script_explains_itself(script: Any, name: str) -> None:
    first = (FOLDER / f"{name}.py").read_text("utf-8").removeprefix('"""').partition("\n")[0]
    told = " ".join(script(name, "--help").split())
    assert f"usage: {name}.py" in told
    assert first.removesuffix('"""')[:60] in told


@pytest.mark.parametrize("name", PARTS)
def test_each_part_can_be_imported(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    assert runpy.run_path(str(FOLDER / f"{name}.py"))["__doc__"]


def test_a_student_is_drawn_beside_its_teacher(script: Any, tmp_path: Path) -> None:
    teacher = build_generator("cartoongan", width=4, blocks=1).eval()
    torch.save(teacher.state_dict(), tmp_path / "teacher.pth")
    (tmp_path / "run").mkdir()
    student = prepare(teacher, (torch.zeros(1, 3, 32, 32),), bits=None)
    save_generator(extract(student), tmp_path / "run" / "generator.safetensors", spec_of(teacher))
    image = tmp_path / "image.jpg"
    given = ("--weights", tmp_path / "teacher.pth", "--run", tmp_path / "run", "--output", image)
    script("before_after", *given)
    with Image.open(image) as drawn:
        assert min(drawn.size) >= 3 * 256


def test_residuals_of_one_image_with_itself_are_nothing(script: Any, tmp_path: Path) -> None:
    codes = torch.randint(1, 255, (2, 3, 64, 64), dtype=torch.uint8)
    save_file({"images": codes}, tmp_path / "student")
    save_file({"images": codes.float() / 127.5 - 1 + 0.002}, tmp_path / "teacher")
    given = [f"--{name}={tmp_path / name}" for name in ("student", "teacher", "output")]
    record = json.loads(script("residuals", *given))
    assert record == json.loads((tmp_path / "output").read_text())
    assert record["images"] == 2
    assert record["corrected"]["none"]["psnr"] == pytest.approx(60, abs=0.1)
    assert record["share_in_area_means"]["8"] == pytest.approx(1, abs=1e-3)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A file of weights as the package of the benchmark's 'faces' holds it, of a tiny generator."""
    generator = build_generator("dcgan", width=4).train()
    generator(torch.randn(8, 100))  # which batch norms have seen
    torch.save({"netG_state_dict": generator.state_dict()}, tmp_path / "faces.pth")
    return tmp_path / "faces.pth"


def test_a_step_is_taken_apart(script: Any, faces: Path, tmp_path: Path) -> None:
    given = ("--steps=12", "--profiled=1", "--macs=0.5", "--width-multiple=1")
    where = ("--weights", faces, "--output", tmp_path / "profile.json")
    script("step_profile", "--generator=dcgan", *where, *given)
    places = json.loads((tmp_path / "profile.json").read_text())["places"]
    assert places.keys() == {"start", "half-way", "end"}
    for place in places.values():
        parts = place["parts_ms"]
        assert {"student conv", "student fake quantisation", "teacher"} <= parts.keys()
        assert sum(parts.values()) == pytest.approx(place["ms_per_step"], rel=0.05)


@pytest.mark.real_data
@pytest.mark.usefixtures("data_root")
def test_variants_are_trained_for_the_same_time_and_judged(
    script: Any, faces: Path, tmp_path: Path
) -> None:
    pytest.importorskip("flip_evaluator")
    given = ("--minutes=0.1", "--threads=1", "--macs=0.5", "--unseen=2", "--output", tmp_path)
    variants = ("--variant=plain", "--variant=adam:optimisation.optimizer=adam")
    rows = script("fidelity", "--teacher=faces", "--weights", faces, *given, *variants)
    plain, adam = (json.loads(row) for row in rows.splitlines())
    assert plain["settings"] == {}
    assert adam["settings"] == {"optimisation": {"optimizer": "adam"}}
    for row in (plain, adam):
        assert [look["seconds"] for look in row["curve"]] == pytest.approx([1.5, 3, 6], abs=2)
        assert row["curve"][-1].keys() >= {"lpips", "psnr", "flip", "colour", "dots", "step"}


def test_pages_are_checked(script: Any) -> None:
    assert script("tables", "--check") == ""


def test_the_house_is_counted(script: Any) -> None:
    inside = shutil.which("git") and subprocess.run(
        ["git", "-C", str(FOLDER), "rev-parse", "HEAD"], capture_output=True, check=False
    )
    if not inside or inside.returncode:
        pytest.skip("this is no git repository")
    counts = dict(line.rsplit(maxsplit=1) for line in script("house", "HEAD").splitlines()[1:])
    assert int(counts["names at the top"]) > 10
    assert counts["circles of files"] == "0"
