"""Names that differ: proposals that were tried, and renames by whole parts."""

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.models.weights.candidates import Candidate
from gan_slimming.models.weights.matching import match
from gan_slimming.models.weights.renames import parse_renames, proposed, renamed

NET = nn.Sequential()
NET.add_module("head", nn.Conv2d(3, 4, 3))
NET.add_module(
    "blocks",
    nn.Sequential(
        *(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)) for _ in "ab")
    ),
)


def under(*pairs: tuple[str, str]) -> dict[str, Tensor]:
    """The tensors of NET under other names; '.' stands round each part."""
    state = {}
    for name, tensor in NET.state_dict().items():
        name = f".{name}."
        for old, new in pairs:
            name = name.replace(f".{old}.", f".{new}.")
        state[name.strip(".")] = tensor
    return state


@pytest.mark.parametrize(
    ("state", "pairs"),
    [
        (under(("blocks", "conv_block")), [("conv_block", "blocks")]),
        (under(("head", "first.conv")), [("first.conv", "head")]),
        (under(("blocks", "b"), ("head", "h")), [("h", "head"), ("b", "blocks")]),
        (
            under(("blocks.0", "block1"), ("blocks.1", "block2")),
            [("block1", "blocks.0"), ("block2", "blocks.1")],
        ),
    ],
)
def test_short_pairs_are_proposed(state: dict[str, Tensor], pairs: list[tuple[str, str]]) -> None:
    assert list(proposed(NET, state)) == pairs


def test_shifted_places_are_proposed_with_what_stands_before_them() -> None:
    state = {}
    for name, tensor in NET.state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks" and parts[2] == "2":
            parts[2] = "3"  # a layer without weights stood before it
        state[".".join(parts)] = tensor
    pairs = proposed(NET, state)
    assert pairs
    assert match(NET, renamed([Candidate("", state)], pairs)[0].state).fits


def test_nothing_is_proposed_where_shapes_or_order_disagree() -> None:
    state = under(("blocks", "b"))
    assert proposed(NET, dict(reversed(state.items()))) == ()
    assert proposed(NET, state | {"b.0.0.weight": torch.zeros(4, 4, 1, 1)}) == ()
    assert proposed(NET, {k: t for k, t in state.items() if "head" not in k}) == ()
    assert proposed(NET, under()) == ()


def test_whole_parts_are_replaced_and_the_longest_first() -> None:
    state = {"a.b.w": torch.zeros(1), "a.bb.w": torch.zeros(1), "module.x.w": torch.zeros(1)}
    found = renamed([Candidate("", state)], parse_renames(["a.b=c", "a=d", "x="]))
    assert list(found[0].state) == ["c.w", "d.bb.w", "w"]
    found = renamed([Candidate("", state)], parse_renames(["=net"]))
    assert next(iter(found[0].state)) == "net.a.b.w"


@pytest.mark.parametrize("text", ["a", "=", "a=b=c", ""])
def test_a_rename_has_one_equals_sign(text: str) -> None:
    with pytest.raises(UserError, match="rename must be OLD=NEW, such as block=conv_block; got"):
        parse_renames([text])


def test_a_rename_of_nothing_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"rename z=\.\.\.: no tensor has that in its name; names are"
    ):
        renamed([Candidate("", {"a.w": torch.zeros(1)})], [("z", "y")])
