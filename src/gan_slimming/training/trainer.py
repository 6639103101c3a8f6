"""The loop: slim until the budget is reached, cut, recover; one objective throughout.

slim      W, gamma and ranges take a gradient step, gamma then its proximal step; channels whose
          gates are zero are cut out physically as soon as enough of them have gathered
recover   the same loss without rho, on the extracted net, where a step costs a fraction
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from gan_slimming.config import Run
from gan_slimming.data.inputs import Fed
from gan_slimming.losses.feature_distillation import HiddenTerm, hidden_distance
from gan_slimming.losses.objective import student_loss
from gan_slimming.pruning.groups import macs_left
from gan_slimming.pruning.proximal import soft_threshold
from gan_slimming.student.student import Student, calibrate
from gan_slimming.student.surgery import cut, remove_empty_blocks, set_gates
from gan_slimming.training import trainer_state
from gan_slimming.training.batch_statistics import has_batch_statistics, settle
from gan_slimming.training.budget import BudgetController, parameters_left
from gan_slimming.training.context import Setting
from gan_slimming.training.discriminator import critic_of
from gan_slimming.training.ema import follow
from gan_slimming.training.interruption import Interrupted, interruptible
from gan_slimming.training.optimizers import (
    HAND_OVER,
    cosine,
    forget_removed,
    gate_optimizer,
    range_optimizer,
    scale_learning_rates,
    weight_optimizers,
)
from gan_slimming.training.saliency import start_gates
from gan_slimming.training.teacher_cache import TeacherOutputs

CUT_AT = 0.9
"""Channels are cut out when the student has come down to this share of its cost at the last cut."""
LEAST_HALF = 64
"""Pictures are not made smaller than this, in pixels a side: a discriminator's patch needs room."""
SAVE_EVERY_SECONDS = 240.0
TRACK_TIMES = 8
"""How often quality is measured while recovering."""
SETTLING = 16
"""Batches from which the running statistics of a batch normalisation are taken in the end."""


class Trainer:
    """One run of the objective on one student."""

    def __init__(self, fabric: Fabric, student: Student, run: Run, setting: Setting):
        self.fabric, self.run, self.setting = fabric, run, setting
        self.settings = run.optimisation
        self.student = student.to(fabric.device).train()
        self.step = 0
        self.seconds = 0.0
        asked = bool(run.budget.kind or run.objective.rho)
        self.slims = asked and len(student.gates) > 0
        s = self.settings
        self.slim_steps = max(1, round(s.slim_share * s.steps)) if self.slims else 0
        limits = (run.budget, run.bits, self.slim_steps, s.floor, s.width_multiple)
        self.controller = BudgetController(student, *limits) if run.budget.kind else None
        self.ema: Student | None = None
        self.cost_at_cut = self.whole_cost = macs_left(student.graph, {})
        self.hidden = HiddenTerm(student, setting.network, run.objective.hidden_weight)
        plays = run.objective.adversarial != "none" and run.objective.adversarial_weight > 0
        sides = (setting.side // self.shrink, setting.side)
        self.critic = critic_of(fabric, run, setting, sides) if plays else None
        self.sampler = setting.sampler(s.batch(), run.seed, s.steps * s.batch())
        self.outputs = TeacherOutputs(setting.feed, self._answer, fabric.device)
        self.make_optimizers()

    # -- the two stages -----------------------------------------------------------------------

    def fit(self) -> Student:
        """Train to the last step and return the final student (the moving average, if kept).

        Raises:
            Interrupted: Ctrl-C; the run has been saved.
        """
        saved = time.monotonic()
        started = saved - self.seconds
        total = self.settings.steps
        track_every = max(1, (total - self.slim_steps) // TRACK_TIMES)
        with interruptible() as stopped:
            if self.step == 0:
                self.begin()
            while self.step < total:
                terms = self.train_step()
                self.step += 1
                if self.step == self.slim_steps:
                    self.finish_slimming()
                self.seconds = time.monotonic() - started
                terms |= {"step": self.step, "seconds": self.seconds}
                if self.step > self.slim_steps and (total - self.step) % track_every == 0:
                    terms |= self.setting.track(self.setting.border(self.final()))
                self.log(terms)
                if stopped() or time.monotonic() - saved > SAVE_EVERY_SECONDS:
                    self.save()
                    saved = time.monotonic()
                if stopped():
                    folder = self.setting.folder
                    raise Interrupted(
                        f"stopped after step {self.step} of {total}, nothing is lost; go on with "
                        f"gan-slimming compress --resume --output {folder}"
                    )
        return self.final()

    def begin(self) -> None:
        """Before the first step: calibrate ranges, start the gates at what channels are worth."""
        self._calibrate()  # first: on a grid of step 1 most channels would seem to be worth nothing
        if self.slims and self.settings.gate_start == "saliency":
            with self.fabric.autocast():
                start_gates(self.student, self._inputs(4, self.run.seed + 3), self.run.seed)
        if not self.slims:
            self.begin_recovery()

    def finish_slimming(self) -> None:
        """The budget is reached: cut what is dead, fold the gates, go on as a plain small net."""
        self._cut()
        ones = {g.name: torch.ones(g.channels) for g in self.student.graph.prunable}
        alive = self.student.alive()
        if all(bool(mask.all()) for mask in alive.values()):
            set_gates(self.student, ones)
        self._calibrate()
        self.begin_recovery()

    def begin_recovery(self) -> None:
        """Fresh optimisers with the recovery's learning rate, and a moving average from here on."""
        for gate in self.student.gates:
            gate.requires_grad_(False)
        self.outputs.forget()  # from here on they have hidden layers, too
        self.make_optimizers()
        self.ema = copy.deepcopy(self.student) if self.settings.ema > 0 else None

    # -- one step ------------------------------------------------------------------------------

    def train_step(self) -> dict[str, float]:
        """One step of the student, then one of the discriminator."""
        self._set_learning_rates()
        teacher, fake, hidden = self._pictures()
        critic = self.critic.frozen() if self.critic else None
        with self.fabric.autocast():
            terms = student_loss(
                self.run.objective, fake, teacher, self.setting.distance, critic, hidden
            )
        self.fabric.backward(terms.total)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        logged = {name: float(value.detach()) for name, value in terms._asdict().items()}
        if self.step < self.slim_steps:
            logged |= self._proximal_step()
        if self.critic:
            logged["critic"] = self.critic.step(teacher, fake.detach(), self.shrink, self.views)
        if self.ema is not None:
            follow(self.ema, self.student, self.settings.ema, self.step - self.slim_steps)
        return logged

    def _pictures(self) -> tuple[Tensor, Tensor, tuple[float, Tensor] | None]:
        """The next batch as teacher and student draw it, and how far apart they are inside."""
        drawn = self.sampler.next(self.views)
        fed, keys, (teacher, *expected) = self.outputs.batch(*drawn, self.shrink)
        generate = self.setting.border(self.student)

        def draw() -> Tensor:
            with self.fabric.autocast():
                return generate(*fed).float()

        if not expected:
            return teacher, draw(), None
        recovered = (self.step - self.slim_steps) / (self.settings.steps - self.slim_steps)
        weight = self.hidden.weight_at(recovered, self.cost_at_cut / max(1, self.whole_cost))
        fake, seen = self.hidden.of_student(self.student, draw, keys)
        return teacher, fake, (weight, hidden_distance(seen, expected))

    @torch.no_grad()
    def _answer(self, key: int, *fed: Tensor) -> list[Tensor]:
        """What the teacher draws, and while recovering what it gives inside."""

        def draw() -> Tensor:
            with self.fabric.autocast():
                return self.setting.teacher(*fed).float()

        if self.step < self.slim_steps or not self.hidden.weight:
            return [draw()]
        pictures, inside = self.hidden.of_teacher(self.student, draw, [key])
        return [pictures, *inside]

    @property
    def shrink(self) -> int:
        """By how much pictures are made smaller in this step: 2 early on, 1 in the end."""
        half = self.run.size // 2
        fits = self.run.size % 2 == 0 and half >= LEAST_HALF and self.setting.takes(half)
        early = self.step < self.settings.half_size_share * self.settings.steps
        return 2 if early and fits else 1

    @property
    def views(self) -> int:
        """In how many ways what is fed is shown, in a step such as this one."""
        return self.setting.feed.views(self.shrink, self.settings.steps * self.sampler.batch_size)

    def _proximal_step(self) -> dict[str, float]:
        """Shrink the gates with the learning rate that their step has just used; cut if it pays."""
        eta = self.gate_optimizer.param_groups[0]["lr"]
        rho = self.run.objective.rho
        if self.controller is not None:
            rho = self.controller.shrink(self.student, self.step + 1) / eta
        else:
            assert rho is not None
            with torch.no_grad():
                for gate in self.student.gates:
                    gate.copy_(soft_threshold(gate, rho * eta))
        if remove_empty_blocks(self.student):
            forget_removed(self.optimizers, self.student)
        alive = self.student.alive()
        macs = macs_left(self.student.graph, alive)
        if macs < CUT_AT * self.cost_at_cut and self.controller is not None:
            self._cut()
        return {"rho": rho, "macs": macs, "parameters": parameters_left(self.student.graph, alive)}

    def final(self) -> Student:
        """The student as it would be handed out now: averaged, in evaluation mode."""
        chosen = copy.deepcopy(self.ema if self.ema is not None else self.student)
        with torch.no_grad():
            for quantizer, weight in chosen.quantized_weights():
                quantizer.follow(weight)
        if has_batch_statistics(chosen):
            # Those at hand are of the student that trained, not of its average.
            settle(chosen, self._inputs(SETTLING, self.run.seed + 5, self.settings.batch()))
        return chosen.eval()

    # -- bookkeeping ---------------------------------------------------------------------------

    def make_optimizers(self) -> None:
        """Fresh optimisers of the student for the stage that `step` stands in."""
        s = self.settings
        slimming = self.step < self.slim_steps
        ranges = range_optimizer(self.student, s)
        self.optimizers = [
            *weight_optimizers(self.student, s, s.lr if slimming else s.recover_lr),
            *([ranges] if ranges else []),
        ]
        if slimming:
            self.gate_optimizer = gate_optimizer(self.student, s)
            self.optimizers.append(self.gate_optimizer)

    def _all_optimizers(self) -> list[torch.optim.Optimizer]:
        return [*self.optimizers, *([self.critic.optimizer] if self.critic else [])]

    def _set_learning_rates(self) -> None:
        slimming = self.step < self.slim_steps
        start = 0 if slimming else self.slim_steps
        length = self.slim_steps if slimming else self.settings.steps - self.slim_steps
        lowest = HAND_OVER if slimming and self.controller is not None else 0.0
        factor = cosine(self.step - start, length, self.settings.warmup, lowest)
        scale_learning_rates(self._all_optimizers(), factor)

    def _cut(self) -> None:
        cut(self.student, self.student.alive(), self.optimizers)
        self.cost_at_cut = macs_left(self.student.graph, {})

    def _calibrate(self) -> None:
        if self.run.bits is None:
            return
        self.student.eval()
        with self.fabric.autocast():
            calibrate(self.student, self._inputs(4, self.run.seed + 4))
        self.student.train()

    def _inputs(self, count: int, seed: int, batch_size: int = 1) -> Iterator[Fed]:
        return self.setting.inputs(count, seed, batch_size, self.fabric.device)

    def log(self, terms: dict[str, float]) -> None:
        """Append to metrics.jsonl and tell whoever draws the progress."""
        trainer_state.log(self.setting.folder, terms)
        self.setting.on_step(self.step, terms)

    # -- resume --------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return trainer_state.state_of(self)

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`, bit for bit. The student is as prepared from the same teacher."""
        trainer_state.load(self, state)

    def save(self) -> None:
        """Write the newest checkpoint, whole or not at all."""
        trainer_state.save(self.state(), self.setting.folder)
