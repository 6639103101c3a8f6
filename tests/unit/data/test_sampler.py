"""The order in which pictures are drawn, and its resumption."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gan_slimming.config import UserError
from gan_slimming.data.images import Sampler


def draw(sampler: Sampler, batches: int) -> list[tuple[list[int], list[bool]]]:
    drawn = [sampler.next() for _ in range(batches)]
    return [(indices.tolist(), flips.tolist()) for indices, flips in drawn]


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


def test_each_picture_is_flipped_half_of_the_time() -> None:
    count, epochs = 8, 400
    sampler = Sampler(count, count, seed=3)
    flipped = torch.zeros(count)
    for _ in range(epochs):
        indices, flips = sampler.next()
        flipped[indices] += flips.float()
    # 5 standard deviations of a fair coin thrown 400 times; 'always' and 'never' are far outside.
    assert (flipped / epochs - 0.5).abs().max() < 5 * 0.5 / epochs**0.5
    assert (flipped.sum() / (count * epochs) - 0.5).abs() < 5 * 0.5 / (count * epochs) ** 0.5


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    draw(Sampler(4, 3, 0), 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_sampler_errors() -> None:
    with pytest.raises(UserError, match="empty; add pictures"):
        Sampler(0, 4, 0)
    with pytest.raises(UserError, match="batch_size must be at least 1, got 0"):
        Sampler(4, 0, 0)
    state = Sampler(4, 2, 0).state_dict()
    with pytest.raises(UserError, match="started with 4 pictures, now there are 5"):
        Sampler(5, 2, 0).load_state_dict(state)


def test_what_has_no_left_and_right_is_never_mirrored() -> None:
    plain, mirrored = Sampler(5, 4, 0, mirrors=False), Sampler(5, 4, 0)
    flips = torch.zeros(0, dtype=torch.bool)
    for _ in range(10):
        (indices, straight), (same, some) = plain.next(), mirrored.next()
        assert torch.equal(indices, same)
        assert not bool(straight.any())
        flips = torch.cat([flips, some])
    assert 0 < int(flips.sum()) < len(flips)
