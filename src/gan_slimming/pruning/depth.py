"""Which residual blocks a small budget does without, so that the others stay wider."""

from __future__ import annotations

from collections.abc import Sequence

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


def surplus_blocks(blocks: Sequence[ResidualBlock], share: float) -> list[str]:
    """Return the paths of the residual blocks to take out: every second one for a half.

    The first stays, and so does at least one. Blocks inside of another go with it.

    Args:
        blocks: in the order of the forward.
        share: of those that stay, from 0 to 1.
    """
    paths = [block.module for block in blocks]
    outer = [path for path in paths if not any(path.startswith(f"{other}.") for other in paths)]
    count = max(1, round(share * len(outer)))
    kept = {place * len(outer) // count for place in range(count)}
    return [path for place, path in enumerate(outer) if place not in kept]
