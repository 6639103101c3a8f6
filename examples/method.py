"""Run GAN Slimming on a toy, with the package's own parts: python examples/method.py.

The student starts as a copy of the teacher and learns under one objective while a budget shrinks
its gates. Then it is cut, recovers, and ends as a plain module that computes exactly the same.
"""

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

import gan_slimming as gs
from gan_slimming.losses.objective import discriminator_objective, student_objective
from gan_slimming.losses.perceptual import multiscale_l1
from gan_slimming.models.patchgan import PatchDiscriminator
from gan_slimming.pruning.groups import macs_left
from gan_slimming.training.budget import BudgetController
from gan_slimming.training.saliency import start_gates

SLIM, RECOVER, SIZE = 30, 40, 32
OBJECTIVE = gs.Objective(adversarial="lsgan", distill="l1", adversarial_weight=0.01)


def make_teacher(width: int = 16) -> nn.Module:
    """Return a recolouring network whose every other channel hardly matters."""
    net = nn.Sequential(
        *(nn.Conv2d(3, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True)),
        *(nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1), nn.Tanh()),
    )
    for layer in ("3.weight", "6.weight"):
        net.get_parameter(layer).data[:, ::2] *= 0.02
    return net.eval().requires_grad_(False)


def images(count: int) -> Tensor:
    """Return smooth random colours (count, 3, SIZE, SIZE), RGB in [-1, 1]."""
    return nn.functional.interpolate(torch.rand(count, 3, 4, 4) * 2 - 1, SIZE, mode="bilinear")


def main() -> None:
    torch.manual_seed(0)
    teacher = make_teacher()
    student = gs.prepare(teacher, (images(1),), bits=8)
    some, dense = [(images(1),) for _ in range(4)], macs_left(student.graph, {})
    gs.calibrate(student, some)
    start_gates(student, some, seed=0)
    print(f"prepared, int8: {error(student, teacher):.4f} from the teacher; {alive(student)}")
    budget = BudgetController(student, gs.Budget(macs=0.33), bits=8, steps=SLIM, floor=0.5)
    discriminator = PatchDiscriminator(8)
    of_gates = SGD(student.gates, lr=0.1, momentum=0.5)
    of_weights = Adam([*student.weights(), *student.ranges()], lr=3e-3)
    of_discriminator = Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    student.train()
    for step in range(1, SLIM + RECOVER + 1):
        slimming = step <= SLIM
        of_student = [of_weights, *([of_gates] if slimming else [])]
        play(student, teacher, of_student, discriminator, of_discriminator)
        if slimming:  # the sparsity term: the smallest rho that keeps the cost on schedule
            threshold = budget.threshold_step(student, step)
        if step == SLIM // 2:
            print(f"halfway, rho = {threshold / 0.1:.4f}: {alive(student)}")
        if step == SLIM:  # cut out channels whose gates are zero, in the optimiser's state too
            print(f"budget reached: {alive(student)}, {error(student, teacher):.4f} away")
            gs.cut(student, student.alive(), [of_weights])
    share = macs_left(student.graph, {}) / dense
    print(f"recovered: {error(student, teacher):.4f} away with {share:.1%} of the work")
    small = gs.extract(student.eval())
    print(f"extracted: a plain module, {error(small, student):.0e} from the student")


def play(
    student: gs.Student, teacher: nn.Module, of_student: list, discriminator: nn.Module, other: Adam
) -> None:
    """Take one step of student and discriminator: distillation and the GAN game."""
    photos = images(4)
    real, fake = teacher(photos), student(photos)
    student_objective(OBJECTIVE, fake, real, multiscale_l1, discriminator).total.backward()
    for optimizer in of_student:
        optimizer.step()
        optimizer.zero_grad()
    other.zero_grad()
    discriminator_objective(OBJECTIVE, discriminator, real, fake.detach()).backward()
    other.step()


@torch.no_grad()
def error(one: nn.Module, other: nn.Module) -> float:
    """Return the mean absolute difference of two generators on new images, in [0, 2]."""
    photos = images(8)
    return float((one(photos) - other(photos)).abs().mean())


def alive(student: gs.Student) -> str:
    """Return the number of channels alive in each group, as text."""
    return ", ".join(f"{int(m.sum())} of {len(m)}" for m in student.alive().values()) + " channels"


if __name__ == "__main__":
    main()
