"""Which residual blocks go: evenly spread, never the first, never all."""

from __future__ import annotations

import pytest

from gan_slimming.pruning.depth import share_of_blocks, surplus_blocks
from gan_slimming.pruning.groups import ResidualBlock


def blocks(*paths: str) -> list[ResidualBlock]:
    return [ResidualBlock(path, f"{path}.last", []) for path in paths]


@pytest.mark.parametrize(
    ("count", "share", "gone"),
    [
        (8, 0.5, [1, 3, 5, 7]),
        (9, 0.5, [1, 3, 5, 7, 8]),
        (8, 0.75, [3, 7]),
        (8, 1.0, []),
        (3, 0.0, [1, 2]),
        (1, 0.5, []),
        (0, 0.5, []),
    ],
)
def test_those_that_stay_are_spread(count: int, share: float, gone: list[int]) -> None:
    found = surplus_blocks(blocks(*(f"b{i}" for i in range(count))), share)
    assert found == [f"b{i}" for i in gone]


def test_blocks_inside_of_another_go_with_it() -> None:
    nested = blocks("a", "a.one", "a.two", "ab", "ab.one")
    assert surplus_blocks(nested, 0.5) == ["ab"]


def test_small_budgets_keep_half() -> None:
    assert [share_of_blocks(None, budget) for budget in (0.05, 0.15, 0.16)] == [0.5, 0.5, 1.0]
    assert share_of_blocks(1.0, 0.05) == 1.0
