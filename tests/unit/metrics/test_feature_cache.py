"""Cached features: found by content, never wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from gan_slimming.metrics.feature_cache import FeatureCache, FeatureKey

KEY = FeatureKey("squeezenet", "ab" * 32, "224x224")
DIGESTS = ["1" * 64, "2" * 64]


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    found = FeatureCache(KEY, tmp_path / "features")
    found.write(DIGESTS, {"features": torch.arange(6.0).view(2, 3), "logits": torch.ones(2, 4)})
    return found


def entry(cache: FeatureCache) -> Path:
    (file,) = cache.folder.iterdir()
    return file


def test_what_was_written_is_found(cache: FeatureCache) -> None:
    found = cache.read(DIGESTS)
    assert found is not None
    assert torch.equal(found["features"], torch.arange(6.0).view(2, 3))
    assert found["logits"].shape == (2, 4)


def test_other_images_order_network_weights_or_rule_are_other_entries(cache: FeatureCache) -> None:
    assert cache.read(DIGESTS[::-1]) is None
    assert cache.read(DIGESTS[:1]) is None
    others = ({"network": "vgg"}, {"weights_sha256": "cd" * 32}, {"resize": "256x256"})
    for other in others:
        assert FeatureCache(replace(KEY, **other), cache.folder).read(DIGESTS) is None


@pytest.mark.parametrize("cut", [0, 5, 60, -1])
def test_a_damaged_entry_is_passed_over_and_made_again(cache: FeatureCache, cut: int) -> None:
    file = entry(cache)
    file.write_bytes(file.read_bytes()[:cut])
    assert cache.read(DIGESTS) is None
    cache.write(DIGESTS, {"features": torch.zeros(2, 3)})
    found = cache.read(DIGESTS)
    assert found is not None
    assert float(found["features"].abs().max()) == 0


def test_a_flipped_bit_is_seen(cache: FeatureCache) -> None:
    file = entry(cache)
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))
    assert cache.read(DIGESTS) is None


def test_an_entry_under_anothers_name_is_foreign(cache: FeatureCache) -> None:
    other = ["3" * 64, "4" * 64]
    entry(cache).rename(cache.folder / f"{cache.name(other)}.safetensors")
    assert cache.read(other) is None


def test_a_foreign_entry_of_any_shape_is_passed_over(cache: FeatureCache) -> None:
    entry(cache).write_bytes(save({"features": torch.tensor(1.0)}, {"name": "x"}))
    assert cache.read(DIGESTS) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = FeatureCache(KEY, tmp_path / "file" / "features")
    cache.write(DIGESTS, {"features": torch.zeros(2, 3)})
    assert cache.read(DIGESTS) is None
