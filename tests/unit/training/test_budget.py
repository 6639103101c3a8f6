"""The budget: reached from below, with every group alive, or refused with the smallest named."""

from copy import deepcopy
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import Budget
from gan_slimming.errors import UserError
from gan_slimming.metrics.complexity import count
from gan_slimming.models import CartoonGenerator
from gan_slimming.student.student import Student, prepare
from gan_slimming.student.surgery import cut, extract, set_gates
from gan_slimming.training.budget import BudgetController, bytes_left, measure_of, parameters_left

EXAMPLE = (torch.zeros(1, 3, 32, 32),)
STEPS = 4


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    torch.manual_seed(0)
    return CartoonGenerator(width=16, blocks=2).eval()


@cache
def prepared(teacher: nn.Module, bits: int | None) -> Student:
    return prepare(teacher, EXAMPLE, bits=bits)


def fresh(teacher: nn.Module, bits: int | None = 8) -> Student:
    student = deepcopy(prepared(teacher, bits))
    values: dict[str, Tensor] = {
        g.name: torch.rand(g.channels) * 2 + 0.02 for g in student.graph.prunable
    }
    set_gates(student, values)
    return student


def slim(student: Student, controller: BudgetController) -> list[float]:
    costs = []
    for step in range(1, STEPS + 1):
        controller.threshold_step(student, step)
        cut(student, student.alive())
        measure = measure_of(controller.kind, student.graph, controller.bits)
        costs.append(measure(student.alive()))
    return costs


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("kind", ["macs", "parameters", "bytes"])
def test_the_budget_is_reached_within_two_percent_from_below(
    teacher: nn.Module, kind: str, share: float
) -> None:
    student = fresh(teacher)
    controller = BudgetController(student, Budget(**{kind: share}), 8, STEPS, floor=0.5)
    start = controller.start
    costs = slim(student, controller)
    if kind == "bytes" and start <= controller.budget:
        assert costs[-1] <= controller.budget
    else:
        assert 0.98 * controller.budget <= costs[-1] <= controller.budget
    assert all(bool(mask.any()) for mask in student.alive().values())
    assert costs == sorted(costs, reverse=True)


def test_the_cost_follows_the_schedule(teacher: nn.Module) -> None:
    student = fresh(teacher)
    controller = BudgetController(student, Budget(macs=0.1), 8, STEPS, floor=0.5)
    targets = [controller.target(step) for step in range(STEPS + 1)]
    assert targets[0] == controller.start
    ratios = [b / a for a, b in pairwise(targets)]
    assert ratios == pytest.approx([ratios[0]] * STEPS)
    assert controller.target(99) == targets[-1] == pytest.approx(0.997 * controller.budget)
    costs = slim(student, controller)
    assert all(c <= t * (1 + 1e-9) for c, t in zip(costs, targets[1:], strict=True))


def test_no_group_falls_below_its_share_of_the_uniform_width(teacher: nn.Module) -> None:
    student = fresh(teacher)
    controller = BudgetController(student, Budget(macs=0.1), 8, STEPS, floor=0.5)
    slim(student, controller)
    for group in student.graph.prunable:
        assert int(student.alive()[group.name].sum()) >= controller.floors[group.name] >= 1


def test_what_was_counted_is_what_the_extracted_net_costs(teacher: nn.Module) -> None:
    student = fresh(teacher, bits=None)
    controller = BudgetController(student, Budget(macs=0.2), None, STEPS, floor=0.5)
    controller.threshold_step(student, STEPS)
    truth, alive = count(extract(student), EXAMPLE), student.alive()
    assert truth.macs == measure_of("macs", student.graph, None)(alive)
    assert truth.parameters == parameters_left(student.graph, alive)


def test_bytes_count_one_for_an_int8_weight_and_four_for_a_float(teacher: nn.Module) -> None:
    graph = fresh(teacher).graph
    layers = len(graph.quantized_layers)  # each stores the scale of its input
    weights = sum(torch.Size(graph.shapes[f"{n}.weight"]).numel() for n in graph.quantized_layers)
    assert bytes_left(graph, {}, None) - bytes_left(graph, {}, 8) == 3 * weights - 4 * layers


def test_a_layer_that_is_the_whole_generator_is_counted_in_int8_too() -> None:
    graph = prepare(nn.Conv2d(3, 3, 3, padding=1), EXAMPLE, bits=None).graph
    assert graph.quantized_layers == [""]
    assert bytes_left(graph, {}, None) - bytes_left(graph, {}, 8) == 3 * 81 - 4


@pytest.mark.parametrize("kind", ["macs", "parameters", "bytes"])
def test_an_impossible_budget_is_refused_and_the_smallest_possible_named(
    teacher: nn.Module, kind: str
) -> None:
    student = fresh(teacher)
    with pytest.raises(UserError, match=rf"budget\.{kind} of .* ask for at least") as caught:
        BudgetController(student, Budget(**{kind: 1e-6}), 8, STEPS, floor=0.5)
    least = float(str(caught.value).rsplit(" ", 1)[1])
    assert "\n" not in str(caught.value)
    BudgetController(student, Budget(**{kind: least}), 8, STEPS, floor=0.5)


def test_an_absolute_amount_is_met(teacher: nn.Module) -> None:
    student = fresh(teacher)
    controller = BudgetController(student, Budget(parameters="60k"), 8, STEPS, floor=0.5)
    assert 58_800 <= slim(student, controller)[-1] <= 60_000


@pytest.mark.parametrize("multiple", [4, 8])
def test_cut_groups_keep_multiples_and_the_budget_holds(teacher: nn.Module, multiple: int) -> None:
    student = fresh(teacher)
    controller = BudgetController(student, Budget(macs=0.3), 8, STEPS, 0.5, multiple)
    assert slim(student, controller)[-1] <= controller.budget
    widths = [int(mask.sum()) for mask in student.alive().values()]
    assert all(width % multiple == 0 for width in widths)
    assert sum(widths) < sum(g.channels for g in fresh(teacher).graph.prunable)


def test_a_budget_below_one_multiple_each_is_refused(teacher: nn.Module) -> None:
    with pytest.raises(
        UserError,
        match=r"with 16 channels left in each of 11 groups .*; the rest stays: 3 channels [(]0%",
    ):
        BudgetController(fresh(teacher), Budget(macs=0.03), 8, STEPS, 0.5, 16)


@pytest.mark.filterwarnings("ignore:channels cannot be followed")
def test_what_holds_the_most_of_the_cost_comes_first_with_its_operator() -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in ((3, 8), (8, 16), (16, 3)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.layers[0](x))
            return self.layers[2](torch.special.i0(self.layers[1](x)))

    student = prepare(Held(), EXAMPLE, bits=8)
    # 3 + 16 + 48 products a pixel with one channel of the first layer left; 3 + 1 + 3 without i0.
    with pytest.raises(UserError, match=r"stays: 32 channels [(]90% of that, .*'special_i0'"):
        BudgetController(student, Budget(macs=0.1), 8, STEPS, floor=0.5)


def test_a_generator_without_a_prunable_channel_is_told_why() -> None:
    student = prepare(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)), EXAMPLE, bits=8)
    with pytest.raises(
        UserError, match=r"no channel .*: 3 channels [(].* because it is the .*put; 3"
    ):
        BudgetController(student, Budget(macs=0.5), 8, STEPS, floor=0.5)
    BudgetController(student, Budget(bytes=1.0), 8, STEPS, floor=0.5)
