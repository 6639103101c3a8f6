"""Slim until the budget is reached, cut, recover; one objective throughout.

slim      W, gamma and ranges take a gradient step, gamma then its proximal step; channels whose
          gates are zero are cut out physically as soon as enough of them have gathered
recover   the same loss without rho, on the extracted net, where a step costs a fraction
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from gan_slimming.config import Run
from gan_slimming.data.inputs import Inputs
from gan_slimming.losses.feature_distillation import FeatureDistillation, feature_distance
from gan_slimming.losses.objective import student_objective
from gan_slimming.pruning.groups import macs_left, parameters_left
from gan_slimming.pruning.proximal import soft_threshold
from gan_slimming.student.student import Student, calibrate
from gan_slimming.student.surgery import cut, remove_empty_blocks, restore, set_gates
from gan_slimming.training.batch_statistics import has_batch_statistics, recalibrate
from gan_slimming.training.budget import BudgetController
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.discriminator import discriminator_of
from gan_slimming.training.ema import update_average
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
from gan_slimming.training.teacher_batches import TeacherBatch, TeacherBatches, draws_by_size

CUT_AT = 0.9
"""Share of the cost at the last cut at which dead channels are cut out."""
MIN_HALF_SIDE = 64
"""Least side in pixels of a downscaled image: a discriminator's patch needs room."""
TRACK_TIMES = 8
"""Number of times that quality is measured while recovering."""
RECALIBRATION_BATCHES = 16
"""Batches from which a final student's running statistics are taken."""


class Trainer:
    """One run of the objective on one student."""

    def __init__(self, fabric: Fabric, student: Student, run: Run, context: TrainingContext):
        self.fabric, self.run, self.context = fabric, run, context
        self.settings = s = run.optimisation
        self.student = student.to(fabric.device).train()
        self.step = 0
        self.seconds = 0.0
        asked = bool(run.budget.kind or run.objective.rho)
        self.slims = asked and len(student.gates) > 0
        self.slim_steps = max(1, round(s.slim_share * s.steps)) if self.slims else 0
        limits = (run.budget, run.bits, self.slim_steps, s.floor, s.width_multiple)
        self.controller = BudgetController(student, *limits) if run.budget.kind else None
        self.ema: Student | None = None
        self.cost_at_cut = self.whole_cost = macs_left(student.graph, {})
        weight = run.objective.feature_distillation_weight if context.same_channels else 0.0
        self.features = FeatureDistillation(student, context.teacher.generator, weight)
        plays = run.objective.adversarial != "none" and run.objective.adversarial_weight > 0
        self.draws = draws_by_size(s, halves=self.halves)
        sides = (context.side // self.downscale, context.side)
        self.discriminator = discriminator_of(fabric, run, context, sides) if plays else None
        self.batches = TeacherBatches(fabric, context, self.features, run, self.draws)
        self.make_optimizers()

    # -- the two stages ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Calibrate ranges and start the gates at their channels' saliency."""
        self._calibrate()  # first: on a grid of step 1 most channels would seem to be worth nothing
        if self.slims and self.settings.gate_start == "saliency":
            with self.fabric.autocast():
                start_gates(self.student, self._inputs(4, self.run.seed + 3), self.run.seed)
        if not self.slims:
            self.begin_recovery()

    def finish_slimming(self) -> None:
        """Cut the dead channels, fold the gates, and go on as a plain small net."""
        self._cut()
        ones = {g.name: torch.ones(g.channels) for g in self.student.graph.prunable}
        alive = self.student.alive()
        if all(bool(mask.all()) for mask in alive.values()):
            set_gates(self.student, ones)
        self._calibrate()
        self.begin_recovery()

    def begin_recovery(self) -> None:
        """Make fresh optimisers with the recovery's learning rate, and start a moving average."""
        for gate in self.student.gates:
            gate.requires_grad_(False)
        self.batches.cache.clear()  # from here on answers have features, too
        self.make_optimizers()
        self.ema = copy.deepcopy(self.student) if self.settings.ema > 0 else None

    def final(self) -> Student:
        """Return the student as it would be handed out now: averaged, in evaluation mode."""
        chosen = copy.deepcopy(self.ema if self.ema is not None else self.student)
        with torch.no_grad():
            for quantizer, weight in chosen.quantized_weights():
                quantizer.update(weight)
        if has_batch_statistics(chosen):
            # Those at hand are of the student that trained, not of its average.
            seed, batch_size = self.run.seed + 5, self.settings.batch()
            recalibrate(chosen, self._inputs(RECALIBRATION_BATCHES, seed, batch_size))
        return chosen.eval()

    # -- one step ----------------------------------------------------------------------------------

    def advance(self) -> dict[str, float]:
        """Take the next step, and end slimming where it was its last; return the terms."""
        terms = self.train_step()
        self.step += 1
        if self.step == self.slim_steps:
            self.finish_slimming()
        return terms

    def train_step(self) -> dict[str, float]:
        """Take one step of the student, then one of the discriminator; return the terms."""
        self._set_learning_rates()
        slimming = self.step < self.slim_steps
        compare = not slimming and self.features.weight > 0
        batch = self.batches.next(self.student, self.downscale, self.augmentations, compare=compare)
        fake, features = self._generate(batch)
        discriminator = self.discriminator.frozen() if self.discriminator else None
        with self.fabric.autocast():
            terms = student_objective(
                self.run.objective, fake, batch.images, self.context.distance, discriminator,
                features,
            )  # fmt: skip
        self.fabric.backward(terms.total)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        logged = {name: float(value.detach()) for name, value in terms._asdict().items()}
        if slimming:
            logged |= self._proximal_step()
        if self.discriminator:
            logged["discriminator"] = self.discriminator.step(
                batch.images, fake.detach(), self.downscale, self.augmentations
            )
        if self.ema is not None:
            update_average(self.ema, self.student, self.settings.ema, self.step - self.slim_steps)
        return logged

    def _generate(self, batch: TeacherBatch) -> tuple[Tensor, tuple[float, Tensor] | None]:
        """Return the student's images, and weight and distance of its features."""
        adapter = self.context.adapt(self.student)

        def generate() -> Tensor:
            with self.fabric.autocast():
                return adapter(*batch.inputs).float()

        if not batch.features:
            return generate(), None
        recovered = (self.step - self.slim_steps) / (self.settings.steps - self.slim_steps)
        weight = self.features.weight_at(recovered, self.cost_at_cut / max(1, self.whole_cost))
        images, features = self.features.of_student(self.student, generate, batch.seeds)
        return images, (weight, feature_distance(features, batch.features))

    @property
    def downscale(self) -> int:
        """The factor by which images are made smaller in this step: 2 early on, 1 in the end."""
        early = self.step < self.settings.half_size_share * self.settings.steps
        return 2 if early and self.halves else 1

    @property
    def halves(self) -> bool:
        """Return whether any steps are at half the size."""
        half = self.run.size // 2
        fits = self.run.size % 2 == 0 and half >= MIN_HALF_SIDE and self.context.takes(half)
        return fits and self.settings.half_size_share > 0

    @property
    def augmentations(self) -> int:
        """The number of augmentations of each input in this step."""
        size, each = self.downscale, self.settings.draws_per_answer
        return self.context.inputs.augmentations(size, self.draws[size], each)

    def _proximal_step(self) -> dict[str, float]:
        """Shrink the gates with the learning rate that their step has just used; cut if it pays."""
        eta = self.gate_optimizer.param_groups[0]["lr"]
        rho = self.run.objective.rho
        if self.controller is not None:
            rho = self.controller.threshold_step(self.student, self.step + 1) / eta
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
        left = self.settings.steps - self.step
        every = max(1, (self.settings.steps - self.slim_steps) // TRACK_TIMES)
        if self.step <= self.slim_steps or left % every:
            return {}
        return self.context.track(self.context.adapt(self.final()))

    # -- optimisers --------------------------------------------------------------------------------

    def make_optimizers(self) -> None:
        """Make fresh optimisers of the student for the stage that `step` stands in."""
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

    def _set_learning_rates(self) -> None:
        slimming = self.step < self.slim_steps
        start = 0 if slimming else self.slim_steps
        length = self.slim_steps if slimming else self.settings.steps - self.slim_steps
        lowest = HAND_OVER if slimming and self.controller is not None else 0.0
        factor = cosine(self.step - start, length, self.settings.warmup, lowest)
        other = [self.discriminator.optimizer] if self.discriminator else []
        scale_learning_rates([*self.optimizers, *other], factor)

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

    def _inputs(self, count: int, seed: int, batch_size: int = 1) -> Iterator[Inputs]:
        return self.context.batches(count, seed, batch_size, self.fabric.device)

    # -- resume ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on: tensors, numbers, texts."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "kept": self.student.kept,
            "identities": self.student.identities,
            "student": self.student.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "discriminator": self.discriminator.state_dict() if self.discriminator else None,
            "sampler": self.batches.sampler.state_dict(),
            "cost_at_cut": self.cost_at_cut,
            "random": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`, bit for bit. The student is as prepared from the same teacher."""
        self.step = state["step"]
        self.seconds = state["seconds"]
        restore(self.student, state["kept"], state["identities"])
        self.make_optimizers()
        self.student.load_state_dict(state["student"])
        if self.step >= self.slim_steps:
            for gate in self.student.gates:
                gate.requires_grad_(False)
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
        torch.set_rng_state(state["random"])
