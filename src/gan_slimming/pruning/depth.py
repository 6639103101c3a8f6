"""Which residual blocks a small budget does without, so that the others stay wider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gan_slimming.pruning.groups import ResidualBlock

SMALL = 0.15
"""Share of the teacher's cost up to which a budget counts as small."""


def share_of_blocks(wanted: float | None, budget: float) -> float:
    """Return the share of the residual blocks that stay.

    Args:
        wanted: what the user asks for; None for a half at small budgets, and all at others.
        budget: as a share of the teacher's cost.
    """
    if wanted is not None:
        return wanted
    return 0.5 if budget <= SMALL else 1.0


def outer_blocks(blocks: Sequence[ResidualBlock]) -> list[str]:
    """Return the paths of the residual blocks that are inside of no other.

    A single one round all others, such as a skip over the whole trunk, does not count.
    """
    paths = [block.module for block in blocks]
    while True:
        outer = [p for p in paths if not any(p.startswith(f"{other}.") for other in paths)]
        if len(outer) != 1 or len(paths) == 1:
            return outer
        paths.remove(outer[0])


def weakest(effects: Mapping[str, float], share: float) -> list[str]:
    """Return the blocks to take out: those of the least effect, never all.

    Args:
        effects: path -> how much the image changes without this block.
        share: of the blocks that stay, from 0 to 1.
    """
    count = max(1, round(share * len(effects)))
    return sorted(effects, key=lambda path: effects[path])[: len(effects) - count]
