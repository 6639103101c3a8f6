"""Crops: their size, range and order, and a set of images that is too small."""

from __future__ import annotations

from pathlib import Path

import torch

from gan_slimming.experiments.teachers.random_crops import open_crops


def test_crops_go_on_from_their_state(pair: tuple[Path, Path]) -> None:
    crops, other = (open_crops(pair[0], 32, 2, 0, "a") for _ in range(2))
    crops.next()
    state = crops.state_dict()
    wanted = [crops.next() for _ in range(4)]
    other.load_state_dict(state)
    assert all(torch.equal(other.next(), images) for images in wanted)
    assert wanted[0].shape == (2, 3, 32, 32)
    assert -1 <= float(wanted[0].min()) < float(wanted[0].max()) <= 1


def test_two_orders_of_a_seed_differ(pair: tuple[Path, Path]) -> None:
    one, two = (open_crops(pair[0], 32, 4, 0, name) for name in "ab")
    assert not torch.equal(one.next(), two.next())


def test_crops_lie_at_all_places_and_some_are_mirrored(pair: tuple[Path, Path]) -> None:
    crops = open_crops(pair[0], 32, 1, 0, "a")
    assert crops.images.pixels.shape[-1] == 36
    first = crops.images.pixels[0].float() / 127.5 - 1
    found = set()
    for _ in range(200):
        image = crops.next()[0]
        for top in range(5):
            for left in range(5):
                place = first[:, top : top + 32, left : left + 32]
                found |= {
                    (top, left, m)
                    for m in (0, 1)
                    if torch.equal(place.flip(-1) if m else place, image)
                }
    assert {place[2] for place in found} == {0, 1}
    assert len({place[:2] for place in found}) > 10
