"""GAN Slimming on a toy, with the package's own pieces: python examples/method.py

The student starts as the teacher's copy, learns under the one objective while a budget shrinks its
gates, is cut, recovers, and ends as a plain module that computes exactly what was trained.
"""

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

import gan_slimming as gs
from gan_slimming.losses.objective import critic_loss, student_loss
from gan_slimming.losses.perceptual import multiscale_l1
from gan_slimming.models.patchgan import PatchDiscriminator
from gan_slimming.pruning.groups import macs_left
from gan_slimming.training.budget import BudgetController
from gan_slimming.training.saliency import start_gates

SLIM, RECOVER, SIZE = 30, 40, 32
OBJECTIVE = gs.Objective(distill="l1", adversarial_weight=0.01)


def make_teacher(width: int = 16) -> nn.Module:
    """Colours through two layers of `width` channels, of which every other hardly matters."""
    net = nn.Sequential(
        *(nn.Conv2d(3, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, padding=1), nn.InstanceNorm2d(width, affine=True)),
        *(nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1), nn.Tanh()),
    )
    for layer in ("3.weight", "6.weight"):
        net.get_parameter(layer).data[:, ::2] *= 0.02
    return net.eval().requires_grad_(False)


def pictures(count: int) -> Tensor:
    """(count, 3, SIZE, SIZE) RGB in [-1, 1]: smooth random colours."""
    return nn.functional.interpolate(torch.rand(count, 3, 4, 4) * 2 - 1, SIZE, mode="bilinear")


def main() -> None:
    torch.manual_seed(0)
    teacher = make_teacher()
    student = gs.prepare(teacher, (pictures(1),), bits=8)
    some, dense = [(pictures(1),) for _ in range(4)], macs_left(student.graph, {})
    gs.calibrate(student, some)
    start_gates(student, some, seed=0)
    print(f"prepared, int8: {error(student, teacher):.4f} from the teacher; {alive(student)}")
    budget = BudgetController(student, gs.Budget(macs=0.33), bits=8, steps=SLIM, floor=0.5)
    critic = PatchDiscriminator(8)
    of_gates = SGD(student.gates, lr=0.1, momentum=0.5)
    of_weights = Adam([*student.weights(), *student.ranges()], lr=3e-3)
    of_critic = Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.999))
    student.train()
    for step in range(1, SLIM + RECOVER + 1):
        slimming = step <= SLIM
        play(student, teacher, critic, of_critic, [of_weights, *([of_gates] if slimming else [])])
        if slimming:  # the sparsity: the smallest rho that keeps the cost on its way down
            threshold = budget.shrink(student, step)
        if step == SLIM // 2:
            print(f"halfway, rho = {threshold / 0.1:.4f}: {alive(student)}")
        if step == SLIM:  # channels whose gates are zero are cut out, optimiser state and all
            print(f"budget reached: {alive(student)}, {error(student, teacher):.4f} away")
            gs.cut(student, student.alive(), [of_weights])
    share = macs_left(student.graph, {}) / dense
    print(f"recovered: {error(student, teacher):.4f} away with {share:.1%} of the work")
    small = gs.extract(student.eval())
    print(f"extracted: a plain module, {error(small, student):.0e} from the student")


def play(
    student: gs.Student, teacher: nn.Module, critic: nn.Module, of_critic: Adam, of_student: list
) -> None:
    """One step of either player: distillation and the GAN game."""
    photos = pictures(4)
    real, fake = teacher(photos), student(photos)
    student_loss(OBJECTIVE, fake, real, multiscale_l1, critic).total.backward()
    for optimizer in of_student:
        optimizer.step()
        optimizer.zero_grad()
    of_critic.zero_grad()
    critic_loss(OBJECTIVE, critic, real, fake.detach()).backward()
    of_critic.step()


@torch.no_grad()
def error(one: nn.Module, other: nn.Module) -> float:
    """Mean absolute difference of two generators on new pictures, in [0, 2]."""
    photos = pictures(8)
    return float((one(photos) - other(photos)).abs().mean())


def alive(student: gs.Student) -> str:
    """How many channels of each group are alive."""
    return ", ".join(f"{int(m.sum())} of {len(m)}" for m in student.alive().values()) + " channels"


if __name__ == "__main__":
    main()
