"""Slim until the budget is reached, cut, recover; one objective throughout.

slim      W, gamma and ranges take a gradient step, gamma then its proximal step; channels whose
          gates are zero are cut out physically as soon as enough of them have gathered
recover   the same loss without rho, on the extracted net, where a step costs a fraction
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric

from gan_slimming.config import Budget, Run
from gan_slimming.data.ranks.collectives import check_same, copy_from_first, from_first
from gan_slimming.losses.feature_distillation import FeatureDistillation
from gan_slimming.pruning.depth import outer_blocks, share_of_blocks, weakest
from gan_slimming.pruning.groups import macs_left, parameters_left
from gan_slimming.pruning.proximal import soft_threshold
from gan_slimming.student.student import Student
from gan_slimming.student.surgery import cut, remove_empty_blocks, restore, set_gates
from gan_slimming.training.budget import BudgetController
from gan_slimming.training.calibration import Calibration
from gan_slimming.training.clock import Stopwatch
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.discriminator import discriminator_of
from gan_slimming.training.ema import update_average
from gan_slimming.training.gradients import Gradients
from gan_slimming.training.guard import Guard
from gan_slimming.training.optimizers import (
    forget_removed,
    scale_learning_rates,
    stage_optimizers,
)
from gan_slimming.training.schedule import Schedule
from gan_slimming.training.teacher_batches import TeacherBatches

CUT_AT = 0.9
"""Share of the cost at the last cut at which dead channels are cut out."""
TRACK_TIMES = 8
"""Number of times that quality is measured while recovering."""


class Trainer:
    """One run of the objective on one student."""

    searches = False
    """Whether stages come and go, as the quality asks; see `training.target_trainer`."""

    def __init__(self, fabric: Fabric, student: Student, run: Run, context: TrainingContext):
        real = context.targets is not None or context.discriminator is not None
        run = replace(run, objective=run.objective.decided(real=real))
        self.fabric, self.run, self.context = fabric, run, context
        self.settings = run.optimisation
        self.slims = bool(run.budget.kind or run.objective.rho) and len(student.gates) > 0
        self._whole = copy.deepcopy(student).cpu() if self.slims or self.searches else None
        """The student with all its channels, for the way back to before a cut."""
        self.calibration = Calibration(fabric, context, run)
        self.stopwatch = Stopwatch(fabric.device.type)
        self._start(student)

    def _start(self, student: Student) -> None:
        """Set everything but the stopwatch to the state before the first step."""
        run, context, s = self.run, self.context, self.settings
        self.student = student.to(self.fabric.device).train()
        self.begun = False
        """Whether the ranges are calibrated, so that `begin` is over."""
        self.rate = 1.0
        """Factor on all learning rates, below 1 after a divergence."""
        self.schedule = Schedule(
            s, slims=self.slims, by_rho=run.objective.rho is not None,
            halves=context.halves(run.size), searches=self.searches, positions=context.positions,
        )  # fmt: skip
        self.controller = self.make_controller(run.budget) if run.budget.kind else None
        self.ema: Student | None = None
        self.cost_at_cut = self.whole_cost = macs_left(student.graph, {})
        compares = context.same_channels and not self.searches
        objective = run.objective
        weight = objective.feature_distillation_weight if compares else 0.0
        self.features = FeatureDistillation(student, context.teacher.generator, weight)
        plays = objective.adversarial != "none" and objective.adversarial_weight > 0
        sides = (context.side // self.schedule.downscale, context.side)
        self.discriminator = discriminator_of(self.fabric, run, context, sides) if plays else None
        self.batches = TeacherBatches(self.fabric, context, self.features, run, self.schedule)
        self.gradients = Gradients(self.fabric, context, run, self.features)
        self.guard = Guard(self.fabric, context, run, weight)
        self.make_optimizers()

    # -- the two stages ----------------------------------------------------------------------------

    def begin(self) -> dict[str, float]:
        """Calibrate ranges and start the first stage; return what was measured there."""
        if self.controller is not None:
            self._remove_weak_blocks(self.controller)
        # Ranges come first: on a grid of step 1 most channels would seem to be worth nothing.
        self.calibration.ranges(self.student)
        if self.slims:
            self.calibration.gates(self.student)
        else:
            self.begin_recovery()
        self.begun = True
        return {}

    def _remove_weak_blocks(self, controller: BudgetController) -> None:
        """Take out the residual blocks that the budget does without; the others stay wider."""
        share = share_of_blocks(self.settings.block_share, controller.budget / controller.start)
        blocks = outer_blocks(self.student.graph.blocks)
        if share == 1 or len(blocks) < 2 or not self.context.same_channels:
            return
        paths = from_first(lambda: weakest(self.batches.block_effects(blocks), share))
        self.student.remove_blocks(paths)
        self.cost_at_cut = macs_left(self.student.graph, {})
        self.controller = self.make_controller(self.run.budget, controller.whole)
        self.make_optimizers()

    def finish_slimming(self) -> None:
        """Cut the dead channels, fold the gates, and go on as a plain small net."""
        self._cut()
        ones = {g.name: torch.ones(g.channels) for g in self.student.graph.prunable}
        alive = self.student.alive()
        if all(bool(mask.all()) for mask in alive.values()):
            set_gates(self.student, ones)
        self.calibration.ranges(self.student)
        self.begin_recovery()

    def begin_recovery(self) -> None:
        """Make fresh optimisers with the recovery's learning rate, and start a moving average."""
        self.schedule.begin(slimming=False)
        for gate in self.student.gates:
            gate.requires_grad_(False)
        if self.features.weight > 0:
            self.batches.cache.clear()  # from here on answers have features, too
        self.guard.clear()
        self.make_optimizers()
        self.ema = copy.deepcopy(self.student) if self.settings.ema > 0 else None

    def finish(self) -> Student:
        """Return the student that the run hands out."""
        return self.final()

    def final(self) -> Student:
        """Return the student as it would be handed out now: averaged, in evaluation mode."""
        chosen = copy.deepcopy(self.ema if self.ema is not None else self.student)
        with torch.no_grad():
            for quantizer, weight in chosen.quantized_weights():
                quantizer.update(weight)
        self.calibration.statistics(chosen)
        return chosen.eval()

    # -- one step ----------------------------------------------------------------------------------

    def advance(self) -> dict[str, float]:
        """Take the next step, and end slimming where it was its last; return the terms."""
        slims_last = self.schedule.slims_last
        terms = self.train_step()
        seconds = from_first(lambda: self.seconds) if self.schedule.by_clock else 0.0
        if self.schedule.tick(seconds):
            self.batches.plan()
        if slims_last:
            self.finish_slimming()
        return terms | self.schedule.record()

    @property
    def step(self) -> int:
        """Return the number of steps so far."""
        return self.schedule.step

    @property
    def seconds(self) -> float:
        """Return the seconds of work so far."""
        return self.stopwatch.seconds

    def train_step(self) -> dict[str, float]:
        """Take one step of the student, then one of the discriminator; return the terms."""
        self._set_learning_rates()
        slimming = self.schedule.stage.slimming
        compare = not slimming and self.features.weight > 0
        batch = self.batches.next(self.student, compare=compare)
        discriminator = self.discriminator.frozen() if self.discriminator else None
        left = self.cost_at_cut / max(1, self.whole_cost)
        weight = self.features.weight_at(self.schedule.recovered, left) if compare else 0.0
        terms, fake = self.gradients.backward(self.student, batch, discriminator, weight)
        logged, sound = self.guard.read(self.student, terms, batch.inputs, batch.indices)
        for optimizer in self.optimizers:
            if sound:
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if not sound:
            return logged
        if slimming:
            logged |= self._proximal_step()
        if self.discriminator:
            logged["discriminator"] = self.discriminator.step(
                batch.images, fake, self.schedule.downscale, self.batches.augmentations,
                places=batch.places, parts=self.gradients.parts(batch),
            )  # fmt: skip
        if self.ema is not None:
            age = self.step - self.schedule.stage.first_step
            update_average(self.ema, self.student, self.settings.ema, age)
        return logged

    def _proximal_step(self) -> dict[str, float]:
        """Shrink the gates with the learning rate that their step has just used; cut if it pays."""
        eta = self.gate_optimizer.param_groups[0]["lr"]
        rho = self.run.objective.rho
        copy_from_first(list(self.student.gates))
        if self.controller is not None:
            at = self.schedule.after - self.schedule.stage.start
            rho = self.controller.threshold_step(self.student, at) / eta
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

    def quality(self) -> dict[str, float]:
        """Return the distances to the teacher, at some steps of recovery; else nothing."""
        stage = self.schedule.stage
        if stage.slimming or self.step <= stage.first_step:
            return {}
        if not self.schedule.crosses(TRACK_TIMES):
            return {}
        return self.context.track(self.context.adapt(self.final()))

    # -- optimisers --------------------------------------------------------------------------------

    def make_optimizers(self) -> None:
        """Make fresh optimisers of the student for its stage."""
        slimming = self.schedule.stage.slimming
        self.optimizers = stage_optimizers(self.student, self.settings, slimming=slimming)
        if slimming:
            self.gate_optimizer = self.optimizers[-1]

    def _set_learning_rates(self) -> None:
        factor = self.schedule.rate_factor(to_budget=self.controller is not None)
        other = [self.discriminator.optimizer] if self.discriminator else []
        scale_learning_rates([*self.optimizers, *other], factor * self.rate)

    def _cut(self) -> None:
        alive = self.student.alive()
        masks = b"".join(mask.numpy().tobytes() for mask in alive.values())
        check_same(masks, "other channels to cut")
        cut(self.student, alive, self.optimizers)
        self.cost_at_cut = macs_left(self.student.graph, {})

    def make_controller(self, budget: Budget, whole: float | None = None) -> BudgetController:
        """Return the controller that keeps the present stage to a budget.

        Args:
            whole: the teacher's cost, if not that of the student as it is.
        """
        s, stage = self.settings, self.schedule.stage
        length = stage.end - stage.start
        bits = self.run.stored_bits
        return BudgetController(
            self.student, budget, bits, length, s.floor, s.width_multiple, whole
        )

    # -- resume ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on: tensors, numbers, texts."""
        return {
            **self.schedule.state_dict(),
            "seconds": self.seconds,
            "controller": self.controller.state_dict() if self.controller else None,
            "kept": self.student.kept,
            "identities": self.student.identities,
            "student": self.student.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "discriminator": self.discriminator.state_dict() if self.discriminator else None,
            "sampler": self.batches.sampler.state_dict(),
            "cost_at_cut": self.cost_at_cut,
            "rate": self.rate,
            "watch": self.guard.state_dict(),
            "random": torch.get_rng_state(),
        }

    def go_back(self, state: dict[str, Any]) -> None:
        """Go on from an earlier state of this run, which may have more channels than are left."""
        self._start(self.student if self._whole is None else copy.deepcopy(self._whole))
        self.load_state_dict(state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`, bit for bit. The student is as prepared from the same teacher."""
        self.begun = True
        self.schedule.load_state_dict(state)
        self.stopwatch.set(state["seconds"])
        if state.get("controller") is not None:
            self.controller = BudgetController.from_state(state["controller"])
        restore(self.student, state["kept"], state["identities"])
        self.make_optimizers()
        self.student.load_state_dict(state["student"])
        if not self.schedule.stage.slimming:
            for gate in self.student.gates:
                gate.requires_grad_(False)
        self.ema = None
        if state["ema"] is not None:
            self.ema = copy.deepcopy(self.student)
            self.ema.load_state_dict(state["ema"])
        if self.discriminator is not None:
            # Runs of 0.1 have it under another name.
            self.discriminator.load_state_dict(state.get("discriminator") or state["critic"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.batches.sampler.load_state_dict(state["sampler"])
        self.cost_at_cut = state["cost_at_cut"]
        self.rate = state.get("rate", 1.0)  # version 0.1 did not watch over its numbers
        if "watch" in state:
            self.guard.load_state_dict(state["watch"])
        torch.set_rng_state(state["random"])
