"""A run that leaves its range: noticed at its step, and named by its cause."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.training.divergence import (
    FIRST_STEPS,
    LONG,
    BadAnswer,
    Diverged,
    Watch,
    cause_in_student,
    check_answer,
    first_bad_layer,
    is_finite,
    read_terms,
)

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(("value", "gradient"), [(NAN, 0.0), (INF, 0.0), (0.0, NAN), (0.0, -INF)])
def test_terms_and_gradients_are_read_at_once(value: float, gradient: float) -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    frozen = nn.Parameter(torch.ones(2))
    terms = {"total": torch.tensor(0.1), "pixel": torch.tensor(3.0)}
    assert read_terms(terms, [weight, frozen]) == (
        {"total": torch.tensor(0.1).item(), "pixel": 3.0}, True,
    )  # fmt: skip
    weight.grad[1] = gradient or 2.0
    terms["pixel"].fill_(value or 3.0)
    assert read_terms(terms, [weight])[1] is False


def test_a_loss_out_of_range_for_long_is_a_divergence() -> None:
    watch = Watch(least=1.0)
    for _ in range(FIRST_STEPS):
        watch.take(3.0)
    for _ in range(LONG - 1):
        watch.take(301.0)
    watch.take(299.0)  # one step inside begins the count anew
    copy = Watch(least=1.0)
    for _ in range(LONG - 1):
        watch.take(301.0)
    copy.load_state_dict(watch.state_dict())
    for each in (watch, copy):
        with pytest.raises(Diverged, match="above 300 for 50 steps, now at 301"):
            each.take(301.0)
    watch.clear()
    watch.take(1e9)


def test_a_student_that_begins_as_the_teacher_has_room_to_differ() -> None:
    watch = Watch(least=1.5)
    for step in range(300):
        watch.take(0.0 if step < FIRST_STEPS else 140.0)
    assert (watch.largest, watch.outside) == (0.0, 0)


def test_the_third_step_in_a_row_that_is_left_out_is_too_many() -> None:
    watch = Watch(least=1.0)
    assert [watch.skip(), watch.skip()] == [False, False]
    watch.take(1.0)
    assert [watch.skip(), watch.skip(), watch.skip()] == [False, False, True]
    assert watch.skipped == 5


def test_numbers_are_looked_for_in_any_nesting() -> None:
    state = {"a": [torch.ones(2), {"b": (torch.zeros(0), 5, "x", None)}], "n": torch.tensor(3)}
    assert is_finite(state)
    state["a"].append(torch.tensor([1.0, NAN]))  # pyright: ignore[reportAttributeAccessIssue]
    assert not is_finite(state)
    assert is_finite({})


class Root(nn.Module):
    """A square root, which has no answer to a black image."""

    def forward(self, images: Tensor) -> Tensor:
        return images.sqrt()


def test_the_first_layer_and_the_image_are_named() -> None:
    net = nn.Sequential(nn.Identity(), Root(), nn.Conv2d(3, 3, 1))
    light, dark = torch.ones(1, 3, 4, 4), -torch.ones(1, 3, 4, 4)
    assert first_bad_layer(net, lambda: net(light)) is None
    assert first_bad_layer(net, lambda: net(dark)) == "1"
    batch = (torch.cat([light, dark]),)
    told = cause_in_student(net, batch, ["image a.png", "image b.png"], net)
    assert told == "the student's answer to image b.png is not finite from layer 1 on"
    assert cause_in_student(net, (light,), ["image a.png"], net) is None
    nn.init.constant_(net[2].weight, INF)  # pyright: ignore[reportArgumentType]
    told = cause_in_student(net, (light,), ["image a.png"], net)
    assert told == "the student's 2.weight is not finite"


@pytest.mark.parametrize(("value", "kind"), [(NAN, "not finite"), (-INF, "not finite"),
                                             (7e4, "too large for 16-bit floats")])  # fmt: skip
def test_a_teachers_answer_is_checked(value: float, kind: str) -> None:
    image = torch.zeros(1, 3, 2, 2)
    check_answer(image, [torch.full((2,), 7e4)], str)
    image[0, 0, 0, 0] = value
    with pytest.raises(BadAnswer, match=f"answer to image x.png is {kind}; leave that input out"):
        check_answer(image, [], lambda: "image x.png")
    with pytest.raises(BadAnswer, match=r"answer to image x\.png"):
        check_answer(torch.zeros(1), [torch.tensor(NAN)], lambda: "image x.png")
