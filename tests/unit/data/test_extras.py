"""Further inputs beside the image: each follows from its image's number alone."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gan_slimming.config import ExtraInput, InputContract
from gan_slimming.data.adapter import to_inputs
from gan_slimming.data.extras import WithExtras, with_extras
from gan_slimming.data.inputs import Inputs, item_of
from gan_slimming.data.latents import SAMPLE, LatentSet, latents_for
from gan_slimming.errors import UserError

NOISE = (ExtraInput("label", 5), ExtraInput("vector", 6))
SIZES = {"label": 5, "vector": 6, "class": 3, "mask": 2, "image": 1}
EXTRAS = tuple(ExtraInput(kind, size) for kind, size in SIZES.items())


class Numbered:
    """Ten images, each of which is its number."""

    def __len__(self) -> int:
        return 10

    def augmentations(
        self, downscale: int = 1, draws: int = 0, draws_per_answer: int | None = None
    ) -> int:
        return 4 * downscale

    def distinct(self, downscale: int, draws: int, draws_per_answer: int | None) -> int:
        return min(draws * (draws_per_answer or 1), len(self))

    def name(self, index: int) -> str:
        return f"number {index}"

    def expect(self, coming: Callable[[int], Tensor]) -> None:
        self.coming = coming

    def batch(self, indices: Tensor, augmentations: Tensor, downscale: int = 1) -> Inputs:
        side = 16 // downscale
        return (indices.float().view(-1, 1, 1, 1).expand(-1, 3, side, side + 4),)


def batch(data: object, *indices: int, downscale: int = 1) -> Inputs:
    assert isinstance(data, WithExtras)
    return data.batch(
        torch.tensor(indices), torch.zeros(len(indices), dtype=torch.int64), downscale
    )


def test_each_kind_has_its_shape_and_values() -> None:
    images, label, vector, classes, mask, other = batch(with_extras(Numbered(), EXTRAS, 0), 3, 9)
    for extra, made in zip(EXTRAS, (label, vector, classes, mask, other), strict=True):
        assert made.shape == extra.shape(2, 16, 20)
    assert set(label.unique().tolist()) <= {0.0, 1.0}
    assert classes.dtype == torch.int64
    assert 0 <= int(classes.min()) <= int(classes.max()) < 3
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (mask.sum((2, 3)) == 8 * 10).all()  # a hole of half the height and width
    assert images[:, 0, 0, 0].tolist() == [3, 9]
    assert other[:, 0, 0, 0].tolist() == [8, 4]  # another image of the data: 5 on


def test_an_input_is_the_same_in_any_batch_and_another_for_each_image_and_seed() -> None:
    data = with_extras(Numbered(), EXTRAS, 1)
    together, alone = batch(data, 2, 7), batch(data, 7)
    assert all(torch.equal(a[1:], b) for a, b in zip(together, alone, strict=True))
    vectors = batch(data, *range(10))[2]
    assert len({tuple(row.tolist()) for row in vectors}) == 10
    assert len(batch(data, *range(10))[3].unique()) == 3
    other = batch(with_extras(Numbered(), EXTRAS, 2), *range(10))[2]
    assert not torch.isclose(vectors, other).any()


def test_masks_follow_the_size_of_the_images() -> None:
    data = with_extras(Numbered(), (ExtraInput("mask"),), 0)
    images, mask = batch(data, 4, downscale=2)
    assert mask.shape[2:] == images.shape[2:] == (8, 12)
    assert float(mask.sum()) == 4 * 6


def test_all_else_is_the_images_own() -> None:
    images = Numbered()
    assert with_extras(images, (), 0) is images
    data = copy.copy(with_extras(images, EXTRAS, 0))
    assert (len(data), data.augmentations(2), data.distinct(1, 3, 2)) == (10, 8, 6)
    data.expect(torch.arange)
    assert data.coming is torch.arange  # pyright: ignore


def test_a_kind_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match=r"an extra input is one of label, .* noise, got 'audio'"):
        ExtraInput("audio")


def test_noise_has_labels_of_its_number() -> None:
    contract = InputContract(latent_size=3, latent_dims=4, classes=4, extras=NOISE)
    found = latents_for(contract, 6, 1, SAMPLE)
    plain = LatentSet(6, 3, 4, 1, SAMPLE)
    latent, number, label, vector = item_of(found, 5)
    assert torch.equal(latent, item_of(plain, 5)[0])
    assert torch.equal(number, item_of(plain, 5)[1])
    assert set(label.tolist()) <= {0.0, 1.0}
    assert (label.shape, vector.shape) == ((5,), (6,))
    assert torch.equal(batch(found, 2, 5)[3][1], vector)
    whole = to_inputs(batch(found, 2, 5), contract)
    assert [tuple(x.shape) for x in whole] == [(2, 3, 1, 1), (2,), (2, 5), (2, 6)]
    drawn = to_inputs((torch.zeros(2, 3), torch.zeros(2).long()), contract)  # without labels
    assert [tuple(x.shape) for x in drawn] == [(2, 3, 1, 1), (2,), (2, 5), (2, 6)]


def test_noise_beside_a_signal_is_as_long_as_it() -> None:
    class Signals(Numbered):
        def batch(self, indices: Tensor, augmentations: Tensor, downscale: int = 1) -> Inputs:
            return (torch.zeros(len(indices), 8, 17),)

    _, noise = batch(with_extras(Signals(), (ExtraInput("noise", 4),), 0), 1, 2)
    assert noise.shape == (2, 4, 17)
    assert not torch.equal(noise[0], noise[1])
