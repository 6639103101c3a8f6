"""Which images are held out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan_slimming.data.holdout import pick_holdout, split_holdout
from gan_slimming.errors import UserError


def names_of(count: int) -> list[str]:
    return [f"{number}.jpg" for number in range(count)]


def test_fraction_is_met_on_average() -> None:
    names = names_of(2000)
    assert 150 <= len(split_holdout(names, names, 0.1)) <= 250


def test_added_images_move_no_other() -> None:
    few, many = names_of(50), sorted(names_of(100))
    held_few = {few[p] for p in split_holdout(few, few, 0.2)}
    held_many = {many[p] for p in split_holdout(many, many, 0.2)}
    assert held_few == held_many & set(few)
    assert len(held_many) > len(held_few)


def test_order_plays_no_part() -> None:
    names = names_of(40)
    backwards = names[::-1]
    for holdout in (7, 0.25):
        held = {names[p] for p in split_holdout(names, names, holdout)}
        assert held == {backwards[p] for p in split_holdout(backwards, backwards, holdout)}


def test_split_is_the_same_on_every_machine() -> None:
    # Golden: a change here would let images that were trained on into old runs' holdouts.
    names = names_of(10)
    assert sorted(split_holdout(names, names, 3)) == [0, 1, 5]
    composed, decomposed = ["caf\u00e9.jpg", *names], ["cafe\u0301.jpg", *names]
    for holdout in range(1, 10):
        first = split_holdout(composed, composed, holdout)
        assert first == split_holdout(decomposed, decomposed, holdout)


@given(
    digests=st.lists(st.integers(0, 6), min_size=2, max_size=20),
    holdout=st.one_of(st.integers(1, 19), st.floats(0.01, 0.99)),
)
def test_copies_never_stand_on_both_sides(digests: list[int], holdout: int | float) -> None:
    names, contents = names_of(len(digests)), [str(digest) for digest in digests]
    if len(set(digests)) < 2 or holdout >= len(names):
        with pytest.raises(UserError, match="cannot hold out"):
            split_holdout(names, contents, holdout)
        return
    held = split_holdout(names, contents, holdout)
    inside = {contents[p] for p in held}
    outside = {contents[p] for p in range(len(names)) if p not in held}
    assert inside
    assert outside
    assert inside.isdisjoint(outside)


def test_a_group_that_exceeds_the_count_is_passed_over() -> None:
    names = names_of(12)
    contents = ["same"] * 5 + names[5:]
    for holdout in (1, 2, 3, 4):
        held = split_holdout(names, contents, holdout)
        assert len(held) == holdout
        assert min(held) >= 5


@pytest.mark.parametrize("holdout", [1, 4, 0.3])
def test_unusable_files_are_passed_over_as_if_they_were_not_there(holdout: int | float) -> None:
    names = names_of(20)
    for bad in range(19):  # of the 20 names, the last in the order of hashes is 19.jpg
        found = pick_holdout(names, lambda p, bad=bad: [] if p == bad else [p], holdout)
        good = [*names[:bad], *names[bad + 1 :]]
        assert {names[p] for p in found} == {good[p] for p in split_holdout(good, good, holdout)}


def test_only_the_first_candidates_are_looked_at() -> None:
    asked: list[int] = []

    def copies(position: int) -> list[int]:
        asked.append(position)
        return [position]

    assert len(pick_holdout(names_of(5000), copies, 16)) == 16
    assert len(asked) == 16
