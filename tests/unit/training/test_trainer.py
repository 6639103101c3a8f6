"""The loop: which step takes which learning rate, who gets a gradient, what is kept and logged."""

from __future__ import annotations

import copy
import json
import math
import signal
import threading
from collections.abc import Callable
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
from gan_slimming.pruning.groups import macs_left
from gan_slimming.pruning.proximal import soft_threshold
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.student.student import Student, prepare
from gan_slimming.training import calibration
from gan_slimming.training import trainer as module
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.interruption import interruptible
from gan_slimming.training.train import train
from gan_slimming.training.trainer import Trainer

EXAMPLE = (torch.zeros(1, 3, 32, 32),)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *(nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True)),
        )

    def forward(self, values: Tensor) -> Tensor:
        return values + self.inner(values)


def net(width: int = 6, blocks: int = 1) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        *(nn.Conv2d(3, width, 3, stride=2, padding=1), nn.InstanceNorm2d(width, affine=True)),
        *(nn.ReLU(), *(Block(width) for _ in range(blocks))),
        *(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()),
        *(nn.Upsample(scale_factor=2), nn.Conv2d(width, 3, 3, padding=1), nn.Tanh()),
    )


OPTIMISATION = Optimisation(
    steps=10, slim_share=0.5, half_size_share=0.0, batch_size=1, warmup=2, discriminator_width=2,
    replay=2, gate_lr=0.1, gate_start="one", floor=0.0,
)  # fmt: skip
SLIM_STEPS = 5
RUN = Run(
    budget=Budget(macs=0.3), objective=Objective(distill="l1", adversarial="lsgan"),
    optimisation=OPTIMISATION, bits=None, size=32, device="cpu", precision="32-true",
)  # fmt: skip
PAPER = replace(
    RUN, budget=Budget(), objective=Objective(distill="l1", adversarial="lsgan", rho=0.05)
)


def changed(run: Run, **optimisation: Any) -> Run:
    return replace(run, optimisation=replace(run.optimisation, **optimisation))


@pytest.fixture
def build() -> Callable[..., Trainer]:
    def make(
        run: Run = RUN,
        width: int = 6,
        blocks: int = 1,
        change: Callable[[nn.Module], nn.Module] = lambda network: network,
        on_step: Callable[[int, dict[str, float]], None] = lambda step, terms: None,
    ) -> Trainer:
        teacher = change(net(width, blocks)).eval().requires_grad_(False)
        pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(1))
        images = ImageSet(
            pixels.to(torch.uint8), torch.arange(4), tuple(Path(str(i)) for i in range(4))
        )
        context = TrainingContext(
            teacher=GeneratorAdapter(teacher, InputContract()),
            inputs=images,
            targets=None,
            distance=multiscale_l1,
            track=lambda generate: {"psnr": float(generate(EXAMPLE[0]).detach().mean())},
            side=32,
            on_step=on_step,
        )
        fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
        return Trainer(fabric, prepare(teacher, EXAMPLE, bits=run.bits), run, context)

    return make


Build = Callable[..., Trainer]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def state_of(network: nn.Module) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in network.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# -- residual blocks ---------------------------------------------------------------------------


def damped(*places: int) -> Callable[[nn.Module], nn.Module]:
    """Return a change of a net of four blocks: those at these places hardly do anything."""

    def change(network: nn.Module) -> nn.Module:
        for place in places:
            with torch.no_grad():
                network.get_submodule(f"{3 + place}.inner.4").weight.mul_(1e-3)  # pyright: ignore
        return network

    return change


def test_a_small_budget_takes_the_weakest_blocks_out_and_is_met(build: Build) -> None:
    run = replace(RUN, budget=Budget(macs=0.15))
    trainer = build(run, blocks=4, change=damped(1, 2))
    whole = macs_left(trainer.student.graph, {})
    trainer.begin()
    assert sorted(trainer.student.identities) == ["4", "5"]
    while not trainer.schedule.over:
        trainer.advance()
    assert macs_left(trainer.final().graph, {}) <= 0.15 * whole
    again = build(run, blocks=4, change=damped(1, 2))
    again.load_state_dict(trainer.state_dict())
    assert same(state_of(again.student), state_of(trainer.student))


@pytest.mark.parametrize(("share", "left"), [(None, 4), (0.75, 3), (0.5, 2), (0, 1)])
def test_other_budgets_keep_all_blocks_unless_asked(
    build: Build, share: float | None, left: int
) -> None:
    trainer = build(changed(RUN, block_share=share), blocks=4)
    trainer.begin()
    assert 4 - len(trainer.student.identities) == left


# -- the proximal step -------------------------------------------------------------------------


def test_the_threshold_is_rho_times_the_rate_of_the_very_step_before(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    thresholds: list[float] = []
    etas: list[float] = []

    def recorded(gates: Tensor, threshold: float) -> Tensor:
        thresholds.append(threshold)
        return soft_threshold(gates, threshold)

    monkeypatch.setattr(module, "soft_threshold", recorded)
    trainer = build(PAPER)
    count = len(trainer.student.gates)
    for trainer.schedule.step in range(4):
        hook = trainer.gate_optimizer.register_step_post_hook(
            lambda optimizer, *_: etas.append(optimizer.param_groups[0]["lr"])
        )
        trainer.train_step()
        hook.remove()
    assert thresholds == pytest.approx([0.05 * eta for eta in etas for _ in range(count)])
    # The schedule moves the rate, so that a threshold of rho times the full rate would be seen.
    assert len(set(etas)) == 4
    assert all(t != pytest.approx(0.05 * OPTIMISATION.gate_lr) for t in thresholds[:count])


def test_a_gate_lands_where_gradient_and_proximal_step_of_one_rate_send_it(build: Build) -> None:
    """The known-wrong variant takes the full rate for the threshold, the decayed for the step."""
    trainer = build(changed(PAPER, gate_momentum=0.0))
    trainer.schedule.step = 3
    gradients: list[Tensor] = []
    trainer.gate_optimizer.register_step_pre_hook(
        lambda *_: gradients.extend(
            g.grad.clone() for g in trainer.student.gates if g.grad is not None
        )
    )
    before = state_of(trainer.student.gates)
    trainer.train_step()
    eta = trainer.gate_optimizer.param_groups[0]["lr"]
    after = state_of(trainer.student.gates)

    def expected(rate_of_the_threshold: float) -> list[Tensor]:
        pairs = zip(before, gradients, strict=True)
        return [soft_threshold(g - eta * d, 0.05 * rate_of_the_threshold) for g, d in pairs]

    torch.testing.assert_close(after, expected(eta), rtol=0, atol=1e-7)
    wrong = expected(OPTIMISATION.gate_lr)
    assert not torch.allclose(torch.cat(after), torch.cat(wrong), rtol=0, atol=1e-4)


def test_with_a_budget_rho_is_logged_as_the_threshold_over_the_rate(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build()
    assert trainer.controller is not None
    monkeypatch.setattr(trainer.controller, "threshold_step", lambda student, step: 0.02)
    logged = trainer.train_step()
    assert logged["rho"] == pytest.approx(0.02 / trainer.gate_optimizer.param_groups[0]["lr"])


def test_macs_only_fall_while_slimming_and_end_just_below_the_budget(
    build: Build, folder: RunFolder
) -> None:
    macs: list[float] = []
    trainer = build(
        changed(RUN, steps=9, slim_share=0.8, gate_start="saliency"),
        width=64,
        on_step=lambda step, terms: macs.append(terms.get("macs", -1.0)),
    )
    whole = trainer.cost_at_cut
    train(trainer, folder)
    slims = trainer.schedule.stage.first_step
    slimming = macs[:slims]
    assert slimming == sorted(slimming, reverse=True)
    assert 0.98 * 0.3 * whole <= slimming[-1] <= 0.3 * whole
    assert trainer.cost_at_cut == slimming[-1]
    assert set(macs[slims:]) == {-1.0}


def test_ranges_are_calibrated_before_channels_are_weighed(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges: list[float] = []

    def weigh(student: Student, *_: object) -> None:
        ranges.extend(float(scale.detach()) for scale in student.ranges())

    monkeypatch.setattr(calibration, "start_gates", weigh)
    trainer = build(replace(changed(RUN, gate_start="saliency"), bits=8))
    assert {float(scale.detach()) for scale in trainer.student.ranges()} == {1.0}
    trainer.begin()
    assert ranges == [float(scale.detach()) for scale in trainer.student.ranges()]
    assert 1.0 not in ranges
    assert ranges


def test_gates_are_frozen_while_recovering(build: Build, folder: RunFolder) -> None:
    trainer = build()
    at: dict[int, list[Tensor]] = {}
    trainer.context.on_step = lambda step, terms: at.update({step: state_of(trainer.student.gates)})
    train(trainer, folder)
    assert not same(at[1], at[2])
    assert all(same(at[5], at[step]) for step in range(6, 11))
    trained = {id(p) for o in trainer.optimizers for g in o.param_groups for p in g["params"]}
    assert trained.isdisjoint(id(gate) for gate in trainer.student.gates)
    assert not any(gate.requires_grad for gate in trainer.student.gates)
    assert trained >= {id(weight) for weight in trainer.student.weights()}


# -- the game ----------------------------------------------------------------------------------


def test_neither_player_gets_a_gradient_in_the_others_step(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build()
    discriminator = trainer.discriminator
    assert discriminator is not None
    discriminator_before, student_before = (
        state_of(discriminator.network),
        state_of(trainer.student),
    )
    original = discriminator.step

    def step(
        teacher: Tensor, fake: Tensor, downscale: int, augmentations: int, **shares: Any
    ) -> float:
        assert all(p.grad is None for p in discriminator.network.parameters())
        assert same(discriminator_before, state_of(discriminator.network))
        assert not same(student_before, state_of(trainer.student))
        now = state_of(trainer.student)
        loss = original(teacher, fake, downscale, augmentations, **shares)
        assert not fake.requires_grad
        assert same(now, state_of(trainer.student))
        assert all(p.grad is None for p in trainer.student.parameters())
        return loss

    monkeypatch.setattr(discriminator, "step", step)
    assert trainer.train_step()["discriminator"] > 0
    assert not same(discriminator_before, state_of(discriminator.network))


def test_the_game_alone_moves_the_student_through_the_frozen_discriminator(build: Build) -> None:
    objective = Objective(
        adversarial="lsgan", adversarial_weight=1, distill_weight=0, pixel_weight=0,
        colour_weight=0, lattice_weight=0,
    )  # fmt: skip
    trainer = build(replace(RUN, objective=objective))
    before = state_of(trainer.student)
    terms = trainer.train_step()
    assert terms["total"] == terms["adversarial"] > 0
    assert not same(before, state_of(trainer.student))


def test_the_game_is_played_by_itself_where_there_are_real_images(build: Build) -> None:
    alone = build(replace(RUN, objective=Objective(distill="l1")))
    assert (alone.run.objective.adversarial, alone.discriminator) == ("none", None)
    context = replace(alone.context, targets=alone.context.inputs)
    real = Trainer(alone.fabric, alone.student, replace(alone.run, objective=Objective()), context)
    assert real.run.objective.adversarial == "lsgan"
    assert real.discriminator is not None


def test_without_the_game_there_is_no_discriminator(build: Build) -> None:
    trainer = build(replace(RUN, objective=Objective(adversarial="none")))
    assert trainer.discriminator is None
    assert "discriminator" not in trainer.train_step()


# -- what is handed out ------------------------------------------------------------------------


def test_the_moving_average_is_handed_out(build: Build, folder: RunFolder) -> None:
    trainer = build(changed(RUN, ema=0.3))
    averages: list[Tensor] = []

    def update(step: int, terms: dict[str, float]) -> None:
        weight = trainer.student.weights()[0].detach().clone()
        if step <= SLIM_STEPS:
            averages[:] = [weight]
        else:
            age = step - 1 - SLIM_STEPS
            averages[0].lerp_(weight, 1 - min(0.3, (1 + age) / (10 + age)))

    trainer.context.on_step = update
    final = train(trainer, folder)
    torch.testing.assert_close(final.weights()[0].detach(), averages[0], rtol=0, atol=1e-7)
    assert not torch.equal(final.weights()[0], trainer.student.weights()[0])
    assert not final.training


def test_without_an_average_the_student_itself_is_handed_out(
    build: Build, folder: RunFolder
) -> None:
    trainer = build(changed(RUN, ema=0.0))
    final = train(trainer, folder)
    assert same(state_of(final), state_of(trainer.student))
    assert final is not trainer.student


# -- learning rates ----------------------------------------------------------------------------


@pytest.mark.parametrize(("run", "lowest"), [(RUN, 0.5), (PAPER, 0.0)])
def test_learning_rates_rise_linearly_and_fall_by_the_cosine(
    build: Build, folder: RunFolder, monkeypatch: pytest.MonkeyPatch, run: Run, lowest: float
) -> None:
    trainer = build(replace(run, bits=8))
    rates: list[list[float]] = []
    one_step = trainer.train_step

    def recorded() -> dict[str, float]:
        terms = one_step()
        every = (*trainer.optimizers[:2], trainer.discriminator and trainer.discriminator.optimizer)
        if trainer.schedule.stage.slimming:
            every += (trainer.gate_optimizer,)
        rates.append([optimizer.param_groups[0]["lr"] for optimizer in every if optimizer])
        return terms

    monkeypatch.setattr(trainer, "train_step", recorded)
    train(trainer, folder)
    for step in range(10):
        slimming = step < 5
        floor = lowest if slimming else 0.0
        at = step % 5
        factor = floor + (1 - floor) * (1 + math.cos(math.pi * at / 5)) / 2
        factor *= min(1.0, (at + 1) / 2)
        s = run.optimisation
        full = [s.muon_lr, s.lr if slimming else s.recover_lr, s.discriminator_lr]
        full += [s.gate_lr] if slimming else []
        assert rates[step] == pytest.approx([rate * factor for rate in full])


# -- the checkpoint ----------------------------------------------------------------------------


def test_a_save_that_fails_leaves_the_old_checkpoint(
    build: Build, folder: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trainer = build()
    folder.save_checkpoint(trainer.state_dict())
    file = tmp_path / "checkpoints" / "last.pt"
    before = file.read_bytes()

    def full_disk(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            folder.save_checkpoint(trainer.state_dict())
    assert file.read_bytes() == before
    trainer.load_state_dict(folder.load_checkpoint())
    folder.save_checkpoint(trainer.state_dict())
    names = sorted(path.name for path in file.parent.iterdir())
    assert names == ["last.pt", "previous.pt"]


def test_a_checkpoint_made_after_a_block_died_can_be_resumed(build: Build) -> None:
    run = replace(PAPER, bits=8)
    trainer = build(run)
    inner = trainer.student.graph.blocks[0].inner[0]
    trainer.train_step()
    trainer.student.gate_of(inner).data.zero_()
    trainer.schedule.step = 1
    trainer.gate_optimizer.state.clear()  # else momentum brings the gates back
    trainer.gate_optimizer.param_groups[0]["full_lr"] = 1e-9
    trainer.train_step()
    assert trainer.student.identities == ["3"]
    trainer.schedule.step = 2
    fresh = build(run)
    fresh.load_state_dict(copy.deepcopy(trainer.state_dict()))
    for resumed in (trainer, fresh):
        resumed.gate_optimizer.param_groups[0]["full_lr"] = OPTIMISATION.gate_lr
    assert trainer.train_step() == fresh.train_step()
    assert same(state_of(trainer.student), state_of(fresh.student))
    assert not any(name.startswith("module.3") for name in dict(fresh.student.named_parameters()))


def test_metrics_after_the_checkpoint_are_forgotten_on_resuming(
    build: Build, folder: RunFolder, tmp_path: Path
) -> None:
    """As after a crash: more was logged than saved, and the last line is cut short."""
    trainer = build()
    trainer.schedule.step = 3
    state = trainer.state_dict()
    lines = [json.dumps({"step": step, "total": 0.5}) + "\n" for step in range(1, 7)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines) + '{"step": 7, "to')
    build().load_state_dict(state)
    folder.drop_metrics_after(3)
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(lines[:3])


# -- the user ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_stops_at_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interruptible() as stopped:
        assert not stopped()
        signal.raise_signal(number)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen: list[bool] = []

    def work() -> None:
        with interruptible() as stopped:
            seen.append(stopped())

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_saves_and_says_how_to_go_on(
    build: Build, folder: RunFolder, tmp_path: Path
) -> None:
    def interrupt(step: int, terms: dict[str, float]) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    trainer = build(on_step=interrupt)
    with pytest.raises(Interrupted, match=r"after step 2 of 10.*--resume --output"):
        train(trainer, folder)
    saved = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert saved["step"] == 2


def test_the_log_holds_a_line_a_step_with_the_terms_of_its_stage(
    build: Build, folder: RunFolder, tmp_path: Path
) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    trainer = build(on_step=lambda step, terms: told.append((step, terms)))
    train(trainer, folder)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = {"total", "distance", "pixel", "colour", "lattice", "adversarial", "features",
              "discriminator"}  # fmt: skip
    always = losses | {"step", "seconds"}
    falling = [1.0, 0.6, 0.2, 0.0, 0.0]  # to nothing in half of the five steps of recovery
    left = macs_left(trainer.student.graph, {}) / macs_left(prepare(net(), EXAMPLE).graph, {})
    assert 0.2 < left < 0.6  # both are met
    for step, line in enumerate(lines, start=1):
        assert line["step"] == step == told[step - 1][0]
        slimming, tracked = step <= 5, step > 5
        extra = {"rho", "macs", "parameters"} if slimming else set()
        assert set(line) == always | extra | ({"psnr"} if tracked else set())
        assert line["total"] == pytest.approx(
            line["distance"] + 0.5 * line["pixel"] + line["colour"] + line["lattice"]
            + 0.1 * line["adversarial"]
            + (0 if slimming else 3.0 * max(falling[step - 6], left)) * line["features"],
            rel=1e-4,
        )  # fmt: skip
        assert (line["features"] > 0) is not slimming
    assert len(lines) == 10
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)


def test_with_everything_protected_a_run_only_recovers(build: Build, folder: RunFolder) -> None:
    trainer = build(PAPER)
    protected = prepare(net().eval(), EXAMPLE, bits=None, protect=["*"])
    alone = Trainer(trainer.fabric, protected, PAPER, trainer.context)
    assert not alone.slims
    train(alone, folder)
    assert alone.step == 10
