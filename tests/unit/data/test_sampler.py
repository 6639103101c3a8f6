"""The order in which images are drawn, and its resumption."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gan_slimming.data.sampler import Sampler
from gan_slimming.errors import UserError


def draw(sampler: Sampler, batches: int) -> list[tuple[list[int], list[int]]]:
    drawn = [sampler.next(augmentations=8) for _ in range(batches)]
    return [(indices.tolist(), augmentations.tolist()) for indices, augmentations in drawn]


@given(count=st.integers(1, 12), batch_size=st.integers(1, 30), seed=st.integers(0, 2**40))
def test_every_epoch_is_a_permutation(count: int, batch_size: int, seed: int) -> None:
    sampler = Sampler(count, batch_size, seed)
    batches = draw(sampler, -(-3 * count // batch_size))
    assert all(len(i) == len(f) == batch_size for i, f in batches)
    sequence = [index for indices, _ in batches for index in indices]
    for epoch in range(3):
        part = sequence[epoch * count : (epoch + 1) * count]
        assert sorted(part) == list(range(count))
    assert sampler.epoch == len(sequence) // count


@given(
    count=st.integers(1, 12),
    batch_size=st.integers(1, 30),
    before=st.integers(0, 6),
    seed=st.integers(0, 9),
)
def test_resumed_sampler_goes_on_bit_for_bit(
    count: int, batch_size: int, before: int, seed: int
) -> None:
    sampler = Sampler(count, batch_size, seed)
    draw(sampler, before)
    state = json.loads(json.dumps(sampler.state_dict()))
    resumed = Sampler(count, batch_size, seed + 1)
    draw(resumed, 2)  # whatever it did before is forgotten
    resumed.load_state_dict(state)
    assert draw(resumed, 5) == draw(sampler, 5)


def test_seeds_and_epochs_differ() -> None:
    first, same, other = (draw(Sampler(50, 50, seed), 2) for seed in (0, 0, 1))
    assert first == same
    assert first[0] != other[0]
    assert first[0] != first[1]
    # seed + epoch as a seed would make these equal.
    assert first[1] != other[0]


@pytest.mark.parametrize("augmentations", [1, 2, 8])
def test_each_is_seen_in_all_its_views_equally_often(augmentations: int) -> None:
    count, epochs = 8, 400
    sampler = Sampler(count, count, seed=3)
    seen = torch.zeros(count, augmentations)
    for _ in range(epochs):
        seen[sampler.next(augmentations)] += 1
    # 5 standard deviations of a fair die thrown 400 times; 'always' and 'never' are far outside.
    share = 1 / augmentations
    deviation = (share * (1 - share)) ** 0.5
    assert (seen / epochs - share).abs().max() <= 5 * deviation / epochs**0.5
    assert (seen.mean(0) / epochs - share).abs().max() <= 5 * deviation / (count * epochs) ** 0.5


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    draw(Sampler(4, 3, 0), 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_sampler_errors() -> None:
    with pytest.raises(UserError, match="empty; add images"):
        Sampler(0, 4, 0)
    with pytest.raises(UserError, match="batch_size must be at least 1, got 0"):
        Sampler(4, 0, 0)
    state = Sampler(4, 2, 0).state_dict()
    with pytest.raises(UserError, match="started with 4 images, now there are 5"):
        Sampler(5, 2, 0).load_state_dict(state)


def test_the_order_does_not_depend_on_the_number_of_views() -> None:
    """A run whose images grow, and with them lose augmentations, goes on in the same order."""
    plain, varied = Sampler(5, 4, 0), Sampler(5, 4, 0)
    for _ in range(10):
        assert torch.equal(plain.next()[0], varied.next(augmentations=8)[0])


def test_a_part_of_the_set_is_drawn_and_no_more() -> None:
    """Chosen by the seed, each as often as the others, and the same after a resume."""
    sampler = Sampler(count=50, batch_size=3, seed=4, distinct=12)
    first = torch.cat([sampler.next()[0] for _ in range(4)])
    assert len(set(first.tolist())) == 12
    second = torch.cat([sampler.next()[0] for _ in range(4)])
    assert set(second.tolist()) == set(first.tolist())
    assert max(first.tolist()) > 12
    other = Sampler(count=50, batch_size=3, seed=5, distinct=12)
    assert set(torch.cat([other.next()[0] for _ in range(4)]).tolist()) != set(first.tolist())
    resumed = Sampler(count=50, batch_size=3, seed=4, distinct=12)
    resumed.load_state_dict(sampler.state_dict())
    assert torch.equal(resumed.next()[0], sampler.next()[0])


def test_coming_draws_are_told_without_being_drawn() -> None:
    order = Sampler(5, 2, seed=1, distinct=3)
    for _ in range(4):
        coming = order.coming(8)
        before = order.state_dict()
        drawn = torch.cat([copy.copy(order).next()[0], coming[2:]])
        assert torch.equal(coming, drawn)
        assert order.state_dict() == before
        assert torch.equal(order.next()[0], coming[:2])


def test_a_set_is_restricted_on_the_way_and_after_a_resume() -> None:
    sampler = Sampler(count=50, batch_size=3, seed=4, distinct=5)
    sampler.next()
    sampler.restrict(12)
    fresh = Sampler(count=50, batch_size=3, seed=4, distinct=12)
    drawn = [sampler.next()[0] for _ in range(4)]
    assert all(torch.equal(a, fresh.next()[0]) for a in drawn)
    resumed = Sampler(count=50, batch_size=3, seed=4, distinct=5)
    resumed.load_state_dict(sampler.state_dict())
    assert torch.equal(resumed.next()[0], sampler.next()[0])
    sampler.restrict(99)
    assert sampler.distinct == 50
