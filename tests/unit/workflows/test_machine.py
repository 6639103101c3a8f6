"""What the machine can do, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gan_slimming.config import Run, UserError
from gan_slimming.workflows import machine
from gan_slimming.workflows.machine import best_threads, make_fabric


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def measured(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]) -> list[int]:
    """Replace the measurement by a table; returns the thread counts that are asked for."""
    asked: list[int] = []

    def look_up(threads: int) -> float:
        asked.append(threads)
        torch.set_num_threads(threads)
        return seconds[threads]

    monkeypatch.setattr(machine, "_seconds_of_a_step", look_up)
    return asked


@pytest.mark.parametrize(("seconds", "best"), [({1: 1.0, 2: 0.6}, 2), ({1: 1.0, 2: 9.0}, 1)])
def test_the_faster_number_of_threads_is_taken(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], best: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(2)
    assert measured(monkeypatch, seconds) == []
    assert best_threads() == best
    assert torch.get_num_threads() == 2


def test_omp_num_threads_is_obeyed_unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    asked = measured(monkeypatch, {1: 0.0, 2: 1.0})
    assert best_threads() == 2
    assert asked == []


def test_a_step_takes_time_and_a_single_thread_needs_no_measurement() -> None:
    assert machine._seconds_of_a_step(1, steps=1) > 0
    assert best_threads() == 1


def test_fabric_has_the_device_precision_and_threads_of_the_run() -> None:
    fabric = make_fabric(Run(device="cpu", precision="32-true", threads=2))
    assert fabric.device.type == "cpu"
    assert torch.get_num_threads() == 2
    with make_fabric(Run(device="cpu", precision="bf16-mixed")).autocast():
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (Run(device="tpu"), "device must be auto, cpu, cuda or mps, got tpu"),
        (Run(device="cpu", precision="7"), "precision must be auto, 32-true or bf16-mixed, got 7"),
    ],
)
def test_what_does_not_exist_is_refused(run: Run, text: str) -> None:
    with pytest.raises(UserError, match=text):
        make_fabric(run)


def test_devices_that_are_not_here_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "mps"):
        with pytest.raises(UserError, match=f"device {device} was asked for.*use --device cpu"):
            make_fabric(Run(device=device))
    assert make_fabric(Run(precision="auto")).device.type == "cpu"
