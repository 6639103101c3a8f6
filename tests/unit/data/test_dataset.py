"""A user's own dataset: its items become a generator's inputs, the same for the same index."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_slimming.config import ExtraInput, InputContract, Run
from gan_slimming.data.adapter import to_inputs
from gan_slimming.data.dataset import (
    DatasetItems,
    check_dataset,
    list_items,
    load_dataset,
    open_dataset,
)
from gan_slimming.data.image_list import changes, list_set
from gan_slimming.data.training_data import open_training_data
from gan_slimming.errors import UserError

PLAIN = InputContract()


class Made:
    """So many items, each made by a function of its index."""

    def __init__(self, make: Callable[[int], Any], count: int = 10) -> None:
        self.make, self.count = make, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def items(make: Callable[[int], Any], contract: InputContract = PLAIN, size: int | None = 8):
    return DatasetItems(Made(make), contract, size, torch.arange(10))


def photo(index: int) -> Tensor:
    return torch.full((3, 8, 8), index / 10)


@pytest.mark.parametrize(
    "contract",
    [PLAIN, InputContract(channels=1, low=0), InputContract(low=0, high=255, colour_order="BGR"),
     InputContract(channels=4), InputContract(extras=(ExtraInput("image"),))],
)  # fmt: skip
def test_a_generator_gets_what_the_dataset_gives(contract: InputContract) -> None:
    shape = (contract.channels, 8, 8)
    given = contract.low + (contract.high - contract.low) * torch.rand(shape)
    several = (given, torch.rand(3, 8, 8)) if contract.extras else (given,)
    found = items(lambda index: several if contract.extras else given, contract)
    batch = to_inputs(found.batch(torch.tensor([0, 3])), contract)
    assert len(batch) == len(several)
    for made, expected in zip(batch, several, strict=True):
        torch.testing.assert_close(made, expected.expand(2, *expected.shape), rtol=1e-5, atol=1e-5)


def test_parts_come_in_order_or_by_name() -> None:
    extras = (ExtraInput("class", 3), ExtraInput("mask"), ExtraInput("vector", 2))
    contract = InputContract(extras=extras)
    parts = (photo(1), 2, np.ones((1, 8, 8), bool), [0.5, 0.25])
    keys = ("input", "class_1", "mask", "vector_3")
    for item in (parts, list(parts), dict(zip(reversed(keys), reversed(parts), strict=True))):
        image, number, mask, vector = items(lambda _, i=item: i, contract).batch(torch.tensor([4]))
        assert torch.equal(image[0], photo(1))
        assert number.dtype == torch.int64
        assert number.tolist() == [2]
        assert mask.dtype == torch.float32
        assert mask.shape == (1, 1, 8, 8)
        assert vector.tolist() == [[0.5, 0.25]]


def test_at_half_the_size_masks_keep_their_values() -> None:
    contract = InputContract(extras=(ExtraInput("mask"),))
    found = items(lambda _: (torch.rand(3, 8, 8), torch.rand(1, 8, 8).round()), contract)
    image, mask = found.batch(torch.arange(10), None, 2)
    whole = found.batch(torch.arange(10))[0]
    assert image.shape == (10, 3, 4, 4)
    torch.testing.assert_close(image[..., 0, 0], whole[..., :2, :2].mean((-2, -1)))
    assert mask.shape == (10, 1, 4, 4)
    assert set(mask.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("draw", [lambda: torch.rand(()), lambda: random.random(),
                                  lambda: np.random.rand()])  # fmt: skip
def test_random_numbers_follow_from_the_index_and_disturb_nothing(draw: Callable[[], Any]) -> None:
    found = items(lambda _: torch.zeros(3, 8, 8) + float(draw()))
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # pyright: ignore
    first = found.batch(torch.tensor([1, 2]))[0]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # pyright: ignore
    assert torch.equal(first[:1], found.batch(torch.tensor([1]))[0])
    assert not torch.equal(first[0], first[1])


def test_a_set_is_split_and_its_items_have_names() -> None:
    train, held = open_dataset(Made(photo), PLAIN, 8, 3)
    assert (len(train), len(held)) == (7, 3)
    assert sorted([*train.rows.tolist(), *held.rows.tolist()]) == list(range(10))
    assert held.name(0) == f"item {int(held.rows[0])}"
    assert torch.equal(held.batch(torch.tensor([2]))[0][0], photo(int(held.rows[2])))
    again = open_dataset(Made(photo), PLAIN, 8, 3)[1]
    assert torch.equal(again.rows, held.rows)
    assert train.augmentations() == 1
    assert train.distinct(1, 1000, 8) == 7


def test_training_takes_a_dataset_of_noise() -> None:
    contract = InputContract(latent_size=5, latent_dims=4, classes=3)
    dataset = Made(lambda index: (torch.full((5, 1, 1), float(index)), index % 3))
    opened = open_training_data(contract, Run(holdout=2), 16, dataset, None)
    noise, classes = to_inputs(opened.held.batch(torch.arange(2), torch.zeros(2)), contract)
    assert noise.shape == (2, 5, 1, 1)
    assert (noise[:, 0, 0, 0].long() % 3).tolist() == classes.tolist()


def test_any_size_where_none_is_asked_for() -> None:
    contract = InputContract(extras=(ExtraInput("mask"),))
    found = items(lambda _: (torch.zeros(3, 6, 9), torch.zeros(1, 6, 9)), contract, None)
    assert [x.shape for x in found.item(0)] == [(3, 6, 9), (1, 6, 9)]
    wrong = items(lambda _: (torch.zeros(3, 6, 9), torch.zeros(1, 6, 8)), contract, None)
    with pytest.raises(UserError, match=r"mask_1 of item 0 of the dataset has the shape \(1, 6, 8"):
        wrong.item(0)


CLASSED = InputContract(extras=(ExtraInput("class", 3),))


@pytest.mark.parametrize(
    ("make", "contract", "said"),
    [
        (lambda i: {}[f"file {i}"], PLAIN, "item 4 of the dataset cannot be read: KeyError: 'file"),
        (lambda _: torch.zeros(3, 8, 9), PLAIN, r"input of item 4 .* has the shape \(3, 8, 9\), the"
         r" generator takes \(3, 8, 8\); mend its __getitem__, or take another --size than 8"),
        (lambda _: torch.zeros(3, 8, 8, dtype=torch.uint8), PLAIN, "floating point.*got uint8"),
        (lambda _: "a.png", PLAIN, "input of item 4 of the dataset must be a tensor, got str"),
        (lambda _: (torch.zeros(3, 8, 8), 1), PLAIN, r"item 4 .* has 2 part.*takes input; return"),
        (lambda _: torch.zeros(3, 8, 8), CLASSED, r"has 1 part.*takes input, class_1"),
        (lambda _: {"input": torch.zeros(3, 8, 8), "y": 1}, CLASSED,
         "item 4 of the dataset has no class_1, it has input, y"),
        (lambda _: (torch.zeros(3, 8, 8), torch.zeros(2)), CLASSED, r"class_1 of item 4.*\(2,\)"),
    ],
)  # fmt: skip
def test_a_wrong_item_is_named_in_one_line(
    make: Callable[[int], Any], contract: InputContract, said: str
) -> None:
    with pytest.raises(UserError, match=said) as error:
        items(make, contract).batch(torch.tensor([4]))
    assert "\n" not in str(error.value)


def test_what_is_no_dataset_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_data.py").write_text(
        "def plain():\n    return 3\ndef bad():\n    return 1 / 0"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, said in (
        (
            "mine_data:plain",
            "map-style dataset with __len__ and __getitem__; got int, which has no",
        ),
        ("mine_data:bad", "dataset mine_data:bad failed with ZeroDivisionError"),
        ("mine_data:absent", "failed with AttributeError.*absent"),
        ("no_such_module_here:x", "failed with ModuleNotFoundError"),
        ("mine_data", "is named package.module:factory, got 'mine_data'"),
    ):
        with pytest.raises(UserError, match=said):
            load_dataset(name)
    for wrong in (iter([1]), {"a": 1}, "photos"):
        with pytest.raises(UserError, match="map-style dataset"):
            check_dataset(wrong)


def test_a_dataset_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(UserError, match=r"has 1 item\(s\), at least 2"):
        open_dataset(Made(photo, 1), PLAIN, 8, None)
    numbers = iter(range(100))
    with pytest.raises(UserError, match="item 0 of the dataset is another each time"):
        open_dataset(Made(lambda _: torch.full((3, 8, 8), float(next(numbers)))), PLAIN, 8, None)
    with pytest.raises(UserError, match="cannot hold out 10 of 10"):
        open_dataset(Made(photo), PLAIN, 8, 10)


def test_changes_of_a_dataset_are_noticed() -> None:
    before = list_set("data", Made(photo, 40))
    assert changes(before, list_items(Made(photo, 40))) is None
    longer = list_items(Made(photo, 41))
    assert "number of items has changed" in str(changes(before, longer))
    other = list_items(Made(lambda index: photo(index) + (index == 0), 40))
    assert changes(before, other) == "item 0 has changed"
    nested = [list_items(Made(lambda i, v=v: {"b": i, "a": [photo(i), v]}, 4)) for v in (1, 1, 2)]
    assert nested[0] == nested[1] != nested[2]
