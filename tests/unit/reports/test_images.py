"""Images in a page: pixels as they were, as good a coding as the budget allows."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from gan_slimming.reports import images
from gan_slimming.reports.images import AMPLIFIED, CODINGS, difference, encode, pixels_of

NOISE = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


def decoded(url: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


def test_pixels_arrive_unchanged() -> None:
    image = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(1)) * 2 - 1
    wide = torch.cat([image, torch.full((3, 5, 1), 9.0), torch.full((3, 5, 1), -9.0)], 2)
    [[url]], _ = encode([[pixels_of(wide)]], budget=10**6)
    pixels = decoded(url)
    assert np.array_equal(pixels[:, :7], ((image + 1) * 127.5).round().permute(1, 2, 0).numpy())
    assert (pixels[:, 7] == 255).all()
    assert (pixels[:, 8] == 0).all()


def test_the_best_coding_within_the_budget_is_taken() -> None:
    groups = [[NOISE[0], NOISE[1]], [NOISE[2], NOISE[3]]]
    urls, coding = encode(groups, budget=10**6)
    assert coding == CODINGS[0].name
    assert [np.array_equal(decoded(u), i) for g, us in zip(groups, urls, strict=True)
            for i, u in zip(g, us, strict=True)] == [True] * 4  # fmt: skip
    urls, coding = encode(groups, budget=47_000)
    assert coding == CODINGS[1].name
    assert len(urls) == 2
    assert all(url.startswith("data:image/jpeg;base64,") for group in urls for url in group)


def test_groups_are_left_out_from_the_end_and_one_always_stays() -> None:
    groups = [[image] for image in NOISE]
    whole = sum(len(url) * 3 / 4 for (url,) in encode(groups, budget=1)[0])
    assert len(encode(groups, budget=1)[0]) == 1
    urls, coding = encode(groups, budget=int(whole * 3.5))
    assert (len(urls), coding) == (3, CODINGS[-1].name)
    assert np.abs(decoded(urls[0][0]).astype(int) - NOISE[0]).mean() < 10


def test_one_group_may_take_more_but_never_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(encode([[NOISE[0]], [NOISE[1]]], budget=1)[0]) == 1
    monkeypatch.setattr(images, "MOST_BYTES", 100)
    assert encode([[NOISE[0]], [NOISE[1]]], budget=1)[0] == []


def test_differences_are_amplified_and_cut_off() -> None:
    first = np.array([[[10, 20, 200]]], np.uint8)
    second = np.array([[[15, 20, 0]]], np.uint8)
    assert difference(first, second).tolist() == [[[5 * AMPLIFIED, 0, 255]]]
    assert np.array_equal(difference(first, second), difference(second, first))


def test_pixels_of_an_image_are_rounded() -> None:
    assert pixels_of(torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1)).tolist() == [[[0, 128, 255]]]
