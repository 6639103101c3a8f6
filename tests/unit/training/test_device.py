"""What the machine can do, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from gan_slimming.config import Optimisation, Run
from gan_slimming.errors import UserError
from gan_slimming.training import device as machine
from gan_slimming.training.device import best_threads

IMAGE = (torch.zeros(1, 3, 16, 16),)


class Fourier(nn.Module):
    """Mixes the frequencies of an image: complex numbers have no bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        waves = torch.fft.rfft2(image)
        return torch.fft.irfft2(torch.complex(self.mix(waves.real), self.mix(waves.imag)))


def make_fabric(run: Run, teacher: nn.Module | None = None) -> Fabric:
    return machine.make_fabric(run, teacher or nn.Conv2d(3, 3, 1), IMAGE)


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


def test_bf16_is_left_out_for_a_generator_that_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "fast_bfloat16", lambda device: True)
    run = Run(device="cpu")
    with make_fabric(run).autocast():
        assert torch.is_autocast_enabled("cpu")
    with make_fabric(run, Fourier()).autocast():
        assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(UserError, match=r"does not compute in bf16-mixed \(.*\); use --precision"):
        make_fabric(Run(device="cpu", precision="bf16-mixed"), Fourier())


def test_bf16_is_left_out_where_the_cpu_computes_it_wrongly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "fast_bfloat16", lambda device: True)
    monkeypatch.setattr(machine, "wrong_in_bfloat16", lambda generator: "8x8 at stride 1")
    with (
        pytest.warns(UserWarning, match="wrongly in bfloat16, so the run computes in float32"),
        make_fabric(Run(device="cpu")).autocast(),
    ):
        assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(UserError, match=r"convolutions of 8x8 at stride 1 wrongly\); use --preci"):
        make_fabric(Run(device="cpu", precision="bf16-mixed"))


def test_the_trial_in_bf16_leaves_the_teacher_as_it_is() -> None:
    teacher = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    make_fabric(Run(device="cpu", precision="bf16-mixed"), teacher)
    assert not teacher.training
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


LONG, SHORT = Optimisation(minutes=5), Optimisation(minutes=4)


@pytest.mark.parametrize(
    ("asked", "optimisation", "missing", "decided"),
    [
        ("auto", LONG, None, "on"),
        ("auto", LONG, "InvalidCxxCompiler", "off"),
        ("auto", SHORT, None, "off"),
        ("auto", Optimisation(steps=2000), None, "on"),
        ("auto", Optimisation(steps=1999), None, "off"),
        ("on", SHORT, None, "on"),
        ("off", LONG, None, "off"),
    ],
)
def test_what_can_be_fused_is_compiled_where_it_pays(
    monkeypatch: pytest.MonkeyPatch,
    asked: Literal["auto", "on", "off"],
    optimisation: Optimisation,
    missing: str | None,
    decided: str,
) -> None:
    monkeypatch.setattr(machine, "missing_for_fusion", lambda: missing)
    run = Run(compile=asked, optimisation=optimisation, device="cpu")
    assert machine.compiles(run) == decided


def test_a_missing_compiler_is_told_to_whoever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "missing_for_fusion", lambda: "InvalidCxxCompiler")
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler works here \(InvalidCxxCompiler\)"):
        assert machine.compiles(Run(compile="on", device="cpu")) == "off"
