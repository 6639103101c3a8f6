"""Which residual blocks go: those of the least effect, never all."""

from __future__ import annotations

import pytest

from gan_slimming.pruning.depth import outer_blocks, share_of_blocks, weakest
from gan_slimming.pruning.groups import ResidualBlock

EFFECTS = {"a": 0.3, "b": 0.1, "c": 0.4, "d": 0.2}


@pytest.mark.parametrize(
    ("share", "gone"),
    [(0.5, ["b", "d"]), (0.75, ["b"]), (1.0, []), (0.0, ["b", "d", "a"])],
)
def test_those_of_the_least_effect_go(share: float, gone: list[str]) -> None:
    assert weakest(EFFECTS, share) == gone


def test_one_block_stays_and_none_is_no_mistake() -> None:
    assert weakest({"a": 0.1}, 0.5) == weakest({}, 0.5) == []


def test_blocks_inside_of_another_are_not_counted() -> None:
    paths = ("a", "a.one", "a.two", "ab", "ab.one")
    blocks = [ResidualBlock(path, f"{path}.last", []) for path in paths]
    assert outer_blocks(blocks) == ["a", "ab"]


def test_one_block_round_all_others_does_not_count() -> None:
    def outer(*paths: str) -> list[str]:
        return outer_blocks([ResidualBlock(path, "", []) for path in paths])

    assert outer("body.1", "body.2", "body") == ["body.1", "body.2"]
    assert outer("body") == ["body"]
    assert outer("body.1.one", "body.1.two", "body.1", "body") == ["body.1.one", "body.1.two"]
    assert outer() == []


def test_small_budgets_keep_half() -> None:
    assert [share_of_blocks(None, budget) for budget in (0.05, 0.15, 0.16)] == [0.5, 0.5, 1.0]
    assert share_of_blocks(1.0, 0.05) == 1.0
