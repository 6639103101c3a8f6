"""Training, saving, loading and judging on a device that is not the CPU, without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

backends = pytest.importorskip("torch.utils.backend_registration")
if not hasattr(backends, "_setup_privateuseone_for_python_backend"):
    pytest.skip("this torch has no backends in Python; 2.10 has", allow_module_level=True)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests.e2e.on_other_device` found out."""
    folder = tmp_path_factory.mktemp("other_device")
    command = [sys.executable, "-m", "tests.e2e.on_other_device", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_resumed_run_meets_its_budget_and_its_file_loads_on_either_device(
    found: dict[str, Any],
) -> None:
    images = found["images"]
    assert 0.4 < images["share"] <= 0.5
    assert images["device"] == "npu:0"
    assert images["difference"] < 1e-5
    assert len(images["waits"]["slimming"]) == len(images["waits"]["recovery"]) == 3


def test_a_student_is_prepared_where_its_teacher_is(found: dict[str, Any]) -> None:
    assert found["prepared"] == "npu:0"


def test_a_step_waits_for_the_device_twice_and_a_step_of_slimming_for_its_budget_too(
    found: dict[str, Any],
) -> None:
    """Before each optimiser's step its losses come, with whether all gradients are finite.

    A budget is kept by numbers of the gates, and a new answer of the teacher's is looked at once.
    """
    waits = found["images"]["waits"]
    answers = 2  # a batch; no input of these few steps comes again
    assert [sum(step.values()) for step in waits["recovery"]] == [2 + answers] * 3
    assert max(sum(step.values()) for step in waits["slimming"]) <= 6 + answers


def test_a_generator_of_noise_with_batch_norms_and_rounded_outputs(found: dict[str, Any]) -> None:
    assert 0.4 < found["noise"]["share"] <= 0.5
    assert found["noise"]["drawn"]["count"] == 2


def test_students_are_judged_and_used_there(found: dict[str, Any]) -> None:
    there, here = found["evaluated"]["figures"].values()
    assert set(there) == {"psnr", "ssim", "l1", "colour", "dots"}
    assert there == pytest.approx(here, rel=1e-4)
    assert found["evaluated"]["translated"]["translated"] == 6
    assert found["lpips"] < 1e-5


def test_a_forgotten_transfer_is_found_out(found: dict[str, Any]) -> None:
    assert "on cpu beside npu:0" in found["forgotten"]
