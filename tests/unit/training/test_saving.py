"""A run whose numbers or whose disk fail: what is kept, and what is said."""

from __future__ import annotations

import copy
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from gan_slimming.config import Budget, InputContract, Objective, Optimisation, Run
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.folder import ImageSet
from gan_slimming.errors import Interrupted
from gan_slimming.losses.perceptual import multiscale_l1
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.student.student import prepare
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.divergence import Diverged
from gan_slimming.training.train import train
from gan_slimming.training.trainer import Trainer

EXAMPLE = (torch.zeros(1, 3, 32, 32),)
RUN = Run(
    budget=Budget(macs=0.5), objective=Objective(distill="l1", adversarial="none"),
    optimisation=Optimisation(steps=12, slim_share=0.34, half_size_share=0.0, batch_size=1,
                              warmup=0, gate_start="one", floor=0.0),
    bits=None, size=32, device="cpu", precision="32-true", checkpoint_seconds=0.0,
)  # fmt: skip


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.InstanceNorm2d(6, affine=True), nn.ReLU()),
        *(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1), nn.Tanh()),
    )


def build(run: Run = RUN, teacher: nn.Module | None = None) -> Trainer:
    teacher = (teacher or net()).eval().requires_grad_(False)
    pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    paths = tuple(Path(f"{i}.png") for i in range(4))
    context = TrainingContext(
        teacher=GeneratorAdapter(teacher, InputContract()),
        inputs=ImageSet(pixels.to(torch.uint8), torch.arange(4), paths),
        targets=None, distance=multiscale_l1, track=lambda generate: {}, side=32,
    )  # fmt: skip
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    return Trainer(fabric, prepare(net().eval(), EXAMPLE, bits=run.bits), run, context)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.make(overwrite=False)
    return run


def poison(trainer: Trainer, steps: Callable[[int], bool]) -> None:
    """Make the distance of some steps NaN, by their number from 1."""
    original = trainer.context.distance

    def distance(student: Tensor, teacher: Tensor) -> Tensor:
        bad = steps(trainer.step + 1)
        return original(student, teacher) * (float("nan") if bad else 1.0)

    trainer.context.distance = distance


def rows(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


def weights(network: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def test_a_single_step_that_is_not_finite_is_left_out_and_counted(folder: RunFolder) -> None:
    trainer = build()
    poison(trainer, lambda step: step == 7)
    seen: dict[int, list[Tensor]] = {}
    trainer.context.on_step = lambda step, terms: seen.update({step: weights(trainer.student)})
    final = train(trainer, folder)
    assert all(map(torch.equal, seen[6], seen[7]))
    assert not all(map(torch.equal, seen[7], seen[8]))
    assert [row["step"] for row in rows(folder) if "skipped" in row] == [7]
    assert len(rows(folder)) == 12
    assert all(p.isfinite().all() for p in final.parameters())


@pytest.mark.parametrize("at", [3, 8])
def test_a_run_goes_back_with_lower_rates_and_then_on_to_its_end(
    folder: RunFolder, caplog: pytest.LogCaptureFixture, at: int
) -> None:
    trainer = build()
    poison(trainer, lambda step: step >= at and trainer.rate == 1.0)
    final = train(trainer, folder)
    assert trainer.rate == 0.5
    assert [row["step"] for row in rows(folder)] == list(range(1, 13))
    assert f"going on from step {at - 1} with 0.5 times" in caplog.text
    assert all(p.isfinite().all() for p in final.parameters())
    assert folder.load_checkpoint()["rate"] == 0.5


def test_after_the_third_return_one_line_names_the_cause(folder: RunFolder) -> None:
    trainer = build()
    poison(trainer, lambda step: step >= 6)
    with pytest.raises(Diverged, match=r"at step 8, also after 3 returns.*gradient") as told:
        train(trainer, folder)
    assert "\n" not in str(told.value)
    assert "step 5 is saved in" in str(told.value)
    state = folder.load_checkpoint()
    assert state["step"] == 5
    assert all(v.isfinite().all() for v in state["student"].values() if torch.is_tensor(v))


def test_norms_that_were_never_trained_are_named_as_the_cause(folder: RunFolder) -> None:
    trainer = build()
    trainer.context.teacher.generator.add_module("norm", nn.BatchNorm2d(3))
    poison(trainer, lambda step: step >= 2)
    with pytest.raises(Diverged, match=r"norms were never trained.*add --teacher-mode train"):
        train(trainer, folder)


def test_weights_that_explode_are_never_saved(folder: RunFolder) -> None:
    optimisation = replace(RUN.optimisation, recover_lr=1e30, muon_lr=1e30)
    trainer = build(replace(RUN, optimisation=optimisation))
    with pytest.raises(Diverged, match=r"the student's .* not finite"):
        train(trainer, folder)
    for file in (folder.checkpoint, folder.previous):
        student = torch.load(file, weights_only=True)["student"]
        assert all(v.isfinite().all() for v in student.values())


class Dark(nn.Module):
    """A teacher without an answer to one of the images."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.net, self.value = net(), value

    def forward(self, images: Tensor) -> Tensor:
        dark = images.mean((1, 2, 3), keepdim=True) < self.limit
        return torch.where(dark, torch.full_like(images, self.value), self.net(images))

    limit = -0.002


@pytest.mark.parametrize("value", [float("nan"), 1e5])
def test_a_teacher_without_an_answer_is_found_before_training(value: float) -> None:
    trainer = build(teacher=Dark(value))
    means = trainer.context.inputs.batch(torch.arange(4), torch.zeros(4, dtype=torch.int64))[0]
    bad = int((means.mean((1, 2, 3)) < Dark.limit).nonzero()[0])
    with pytest.raises(Diverged, match=f"the teacher's answer to image {bad}.png"):
        trainer.batches.check_teacher(1)


def test_a_teacher_without_an_answer_ends_the_run_at_once(folder: RunFolder) -> None:
    trainer = build(teacher=Dark(float("nan")))
    with pytest.raises(Diverged, match=r"stopped at step \d: the teacher's answer to image"):
        train(trainer, folder)
    assert trainer.rate == 1.0


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_costs_only_what_was_not_saved(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = build()
    save, append = folder.save_checkpoint, folder.append_metrics

    def on_step(step: int, terms: dict[str, float]) -> None:
        if step == 4:
            monkeypatch.setattr(folder, "save_checkpoint", full)
        if step == 9:
            monkeypatch.setattr(folder, "save_checkpoint", save)

    trainer.context.on_step = on_step
    train(trainer, folder)
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert told == ["the checkpoint of step 4 cannot be saved (No space left on device); the run "
                    "goes on, step 3 is saved"]  # fmt: skip
    assert folder.load_checkpoint()["step"] == 12
    assert append is not None
    assert [row["step"] for row in rows(folder)] == list(range(1, 13))


def test_a_log_that_the_disk_refuses_is_written_later(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = build()
    opened = Path.open

    def refusing(path: Path, *args: Any, **named: Any) -> Any:
        if path == folder.metrics and 3 <= trainer.step <= 5:
            full()
        return opened(path, *args, **named)

    monkeypatch.setattr(Path, "open", refusing)
    train(trainer, folder)
    assert "step 3 is not in the log yet (No space left on device)" in caplog.text
    assert [row["step"] for row in rows(folder)] == list(range(1, 13))


@pytest.fixture
def terminal() -> Iterator[None]:
    """The end of a terminal is not ignored, as it is where nohup runs the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("terminal")
def test_a_stop_on_a_full_disk_says_what_is_saved(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build()

    def on_step(step: int, terms: dict[str, float]) -> None:
        if step == 4:
            monkeypatch.setattr(folder, "save_checkpoint", full)
            signal.raise_signal(signal.SIGHUP)

    trainer.context.on_step = on_step
    trainer.context.resume_command = "the command"
    text = (
        r"after step 4 of 12, which could not be saved \(No space.*step 3 is saved; .* the command"
    )
    with pytest.raises(Interrupted, match=text):
        train(trainer, folder)
    assert folder.load_checkpoint()["step"] == 3


def test_checkpoints_come_at_the_start_the_first_cut_and_the_end(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build(replace(RUN, checkpoint_seconds=1e6))
    steps: list[int] = []
    save = folder.save_checkpoint

    def noted(state: dict[str, Any]) -> None:
        steps.append(state["step"])
        assert steps[:1] == [0] or state["kept"]
        save(state)

    monkeypatch.setattr(folder, "save_checkpoint", noted)
    train(trainer, folder)
    assert steps[0] == 0
    assert steps[-1] == 12
    assert len(steps) == 3
    assert 0 < steps[1] <= trainer.schedule.stage.first_step


def test_a_run_goes_back_to_before_a_cut(folder: RunFolder) -> None:
    trainer = build(replace(RUN, checkpoint_seconds=1e6))
    trainer.begin()
    before = copy.deepcopy(trainer.state_dict())
    wide = [p.shape for p in trainer.student.parameters()]
    while trainer.step < 5:
        trainer.advance()
    assert [p.shape for p in trainer.student.parameters()] != wide
    trainer.go_back(before)
    assert [p.shape for p in trainer.student.parameters()] == wide
    assert trainer.step == 0
    first = trainer.train_step()
    fresh = build(replace(RUN, checkpoint_seconds=1e6))
    fresh.begin()
    assert fresh.train_step() == first


def test_a_run_killed_before_its_first_step_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    run = replace(RUN, bits=8, optimisation=replace(RUN.optimisation, gate_start="saliency"))
    folders = [RunFolder(tmp_path / name) for name in ("whole", "parts")]
    for folder in folders:
        folder.make(overwrite=False)
    whole = train(build(run), folders[0])
    killed = build(run)
    killed.begin()
    folders[1].save_checkpoint(killed.state_dict())
    resumed = build(run)
    resumed.load_state_dict(folders[1].load_checkpoint())
    parts = train(resumed, folders[1])
    assert all(map(torch.equal, weights(whole), weights(parts)))
    assert rows(folders[0])[0]["total"] == rows(folders[1])[0]["total"]
