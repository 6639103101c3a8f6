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
from gan_slimming.pruning.groups import GroupGraph, activations_left, macs_left
from gan_slimming.pruning.proximal import (
    channel_prices,
    cost_of_widths,
    soft_threshold,
    uniform_widths,
)
from gan_slimming.student.student import Student, prepare
from gan_slimming.student.surgery import cut, extract, set_gates
from gan_slimming.training.budget import (
    BudgetController,
    bytes_left,
    can_slim,
    least_cost,
    measure_of,
    parameters_left,
    price_of,
)

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


@pytest.mark.parametrize(
    ("bits", "weight", "extra"), [(None, 4, 0), (8, 1, 4), (7, 1, 4), (6, 0.75, 68), (4, 0.5, 68)]
)
def test_bytes_are_those_of_weights_other_numbers_and_the_header(
    bits: int | None, weight: float, extra: int
) -> None:
    """216 weights and 11 biases in two layers; 200 bytes a tensor of more than one axis."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 11, 1))
    graph = prepare(net, EXAMPLE, bits=None).graph
    matrices = sum(len(shape) > 1 for shape in graph.shapes.values())
    assert matrices == 2
    assert bytes_left(graph, {}, bits) == weight * (216 + 88) + 4 * 11 + 2 * extra + 1000 + 400


def test_bytes_are_rounded_up() -> None:
    graph = prepare(nn.Conv2d(1, 1, 1, bias=False), (torch.zeros(1, 1, 8, 8),), bits=None).graph
    assert bytes_left(graph, {}, 4) == 1 + 68 + 1200


def test_each_kind_of_budget_has_its_measure(teacher: nn.Module) -> None:
    graph = fresh(teacher).graph
    costs = {kind: measure_of(kind, graph, 8)({}) for kind in ("macs", "parameters", "bytes")}
    assert costs == {
        "macs": macs_left(graph, {}),
        "parameters": parameters_left(graph, {}),
        "bytes": bytes_left(graph, {}, 8),
    }
    assert measure_of("bytes", graph, None)({}) == bytes_left(graph, {}, None)


def test_a_price_is_the_sum_of_shares(teacher: nn.Module) -> None:
    graph = fresh(teacher).graph
    price, group = price_of(graph), graph.prunable[0]
    assert price({}) == pytest.approx(3)
    alive = {group.name: torch.arange(group.channels) > 0}
    shares = [
        f(graph, alive) / f(graph, {}) for f in (macs_left, parameters_left, activations_left)
    ]
    assert price(alive) == pytest.approx(sum(shares))
    assert sum(shares) < 3


def test_what_can_slim_is_what_the_controller_accepts(teacher: nn.Module) -> None:
    student = fresh(teacher)
    measure = measure_of("macs", student.graph, None)
    for multiple in (1, 4):
        least = least_cost(student.graph, measure, multiple) / measure({})
        assert can_slim(student.graph, least / 0.997 * 1.0001, multiple)
        assert not can_slim(student.graph, least / 0.997 * 0.9999, multiple)
        BudgetController(student, Budget(macs=least / 0.997 * 1.0001), 8, 4, 0.0, multiple)
        with pytest.raises(UserError, match="cannot be met"):
            BudgetController(student, Budget(macs=least / 0.997 * 0.9999), 8, 4, 0.0, multiple)
    assert least_cost(student.graph, measure, 1) < least_cost(student.graph, measure, 4)
    assert least_cost(student.graph, measure, 10**6) == measure({})


@pytest.mark.parametrize(
    ("multiple", "width", "expected"),
    [(1, 9.9, 9), (1, 0.2, 1), (4, 9.9, 8), (4, 10.1, 12), (4, 1.0, 4)],
)
def test_a_floor_is_whole_or_the_nearest_multiple(
    multiple: int, width: float, expected: int
) -> None:
    assert BudgetController.from_state({"multiple": multiple})._floor(width) == expected


def test_floors_leave_room_below_the_budget(teacher: nn.Module) -> None:
    """They start as a share of the uniform width, and are halved until a tenth is free."""
    student = fresh(teacher)
    graph = student.graph
    measure = measure_of("macs", graph, 8)
    for share in (0.1, 0.3):
        loose, tight = (
            BudgetController(student, Budget(macs=share), 8, STEPS, floor) for floor in (0.5, 1.0)
        )
        uniform = uniform_widths(graph, measure, loose.budget)
        assert loose.floors == {n: max(1, int(0.5 * w)) for n, w in uniform.items()}
        assert cost_of_widths(graph, measure, uniform) > 0.9 * loose.budget
        assert tight.floors == loose.floors


def test_nothing_changes_while_the_cost_is_on_schedule(teacher: nn.Module) -> None:
    student = fresh(teacher)
    controller = BudgetController(student, Budget(macs=0.1), 8, STEPS, floor=0.5)
    before = [gate.clone() for gate in student.gates]
    assert controller.threshold_step(student, 0) == 0.0
    assert all(torch.equal(a, b) for a, b in zip(before, student.gates, strict=True))


def test_a_step_takes_the_least_threshold_that_meets_the_schedule(teacher: nn.Module) -> None:
    """It is one number for all groups, times the root of each group's price."""
    student = fresh(teacher)
    controller = BudgetController(student, Budget(macs=0.1), 8, STEPS, floor=0.0)
    graph, before = student.graph, [gate.detach().clone() for gate in student.gates]
    threshold = controller.threshold_step(student, 1)
    prices = channel_prices(graph.prunable, price_of(graph))
    measure = measure_of("macs", graph, 8)

    def cost(t: float) -> float:
        alive = {
            g.name: soft_threshold(gate, t * price**0.5) != 0
            for g, gate, price in zip(graph.prunable, before, prices, strict=True)
        }
        return measure(alive)

    for gate, old, price in zip(student.gates, before, prices, strict=True):
        assert torch.equal(gate, soft_threshold(old, threshold * price**0.5))
    assert cost(threshold) <= controller.target(1) < cost(threshold * (1 - 1e-5))


def test_the_last_step_fills_the_budget_with_the_strongest_and_shrinks_the_rest(
    teacher: nn.Module,
) -> None:
    student = fresh(teacher)
    controller = BudgetController(student, Budget(macs=0.3), 8, STEPS, floor=0.0)
    before = [gate.detach().clone() for gate in student.gates]
    threshold = controller.threshold_step(student, STEPS)
    filled = shrunk = 0
    for gate, old in zip(student.gates, before, strict=True):
        alive = gate != 0
        filled += int((alive & (gate == old)).sum())
        shrunk += int((alive & (gate.abs() < old.abs())).sum())
    assert threshold > 0
    assert 0 < filled < shrunk
    measure = measure_of("macs", student.graph, 8)
    cost = measure(student.alive())
    assert cost <= 0.997 * controller.budget
    # No channel that was taken out would fit any more.
    for group, gate in zip(student.graph.prunable, student.gates, strict=True):
        alive = student.alive()
        lost = (gate == 0).nonzero().flatten()
        if len(lost):
            alive[group.name][lost[0]] = True
            assert measure(alive) > 0.997 * controller.budget


def test_a_controller_goes_on_from_its_state(teacher: nn.Module) -> None:
    student = fresh(teacher)
    controller = BudgetController(student, Budget(macs=0.3), 8, STEPS, 0.5, 4)
    again = BudgetController.from_state(controller.state_dict())
    assert vars(again) == vars(controller)
    state = controller.state_dict()
    state["steps"] = 99
    assert controller.steps == STEPS


def test_a_generator_that_is_nearly_all_held_is_better_only_quantised() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(3, 3, 9, padding=4)
            self.slim = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.wide(x) + self.slim(x)

    student = prepare(Wide(), EXAMPLE, bits=8)
    with pytest.raises(UserError, match="; pruning gains nothing here; leave the budget to quant"):
        BudgetController(student, Budget(macs=0.9), 8, STEPS, floor=0.5)


def test_each_tensor_of_two_axes_has_its_entry_in_the_header() -> None:
    shapes = {"weight": (2, 3), "bias": (2,)}
    assert bytes_left(GroupGraph([], shapes, {}), {}, None) == 4 * 8 + 1000 + 200
