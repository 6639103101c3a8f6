"""Features of files: from the cache if it has them, never wrong ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_slimming.evaluation import file_features
from gan_slimming.evaluation.file_features import embed_files
from gan_slimming.metrics.embedded_set import EmbeddedSet
from gan_slimming.perceptual.embeddings import Embedding


class Counting:
    """A network whose features are mean colours; it counts the images that it sees."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.seen += len(images)
        means = images.mean(dim=(2, 3))
        return means, means * 2

    def embedding(self, sha256: str = "ab") -> Embedding:
        return Embedding("colours", 3, 3, sha256, "none", self)


@pytest.fixture(autouse=True)
def small_entries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(file_features, "CHUNK", 4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gan-slimming" / "features"


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = []
    for number in range(10):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (9 + number % 2, 8), (number * 20, 10, 0)).save(path)
        found.append(path)
    return found


def run(paths: list[Path], network: Counting, sha256: str = "ab", cache: bool = True) -> Tensor:
    into = EmbeddedSet(3, 3)
    assert embed_files(paths, network.embedding(sha256), into, cache=cache) == []
    assert into.count == len(paths)
    return into.sample.features


def test_the_second_time_nothing_is_computed(paths: list[Path]) -> None:
    network = Counting()
    first = run(paths, network)
    assert network.seen == 10
    expected = torch.tensor([[n * 20 / 127.5 - 1, 10 / 127.5 - 1, -1] for n in range(10)])
    torch.testing.assert_close(first, expected)
    assert torch.equal(run(paths, network), first)
    assert network.seen == 10
    run(paths, network, sha256="cd")
    assert network.seen == 20
    run(paths, network, cache=False)
    assert network.seen == 30


def test_large_files_and_images_go_alone(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch, small_entries: Path
) -> None:
    """However large photos are, few of them are in memory."""
    monkeypatch.setattr(file_features, "CHUNK_BYTES", paths[0].stat().st_size)
    monkeypatch.setattr("gan_slimming.evaluation.items.MOST_PIXELS", 9 * 8)
    network = Counting()
    largest = 0

    def watched(images: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal largest
        largest = max(largest, len(images))
        return network(images)

    same_size = [paths[0], paths[2], paths[4]]
    into = EmbeddedSet(3, 3)
    embed_files(same_size, replace(network.embedding(), run=watched), into)
    assert (into.count, largest) == (3, 1)
    assert len(list(small_entries.iterdir())) == 3


def test_a_changed_image_is_computed_anew_and_renaming_is_not(paths: list[Path]) -> None:
    network = Counting()
    run(paths, network)
    moved = [path.rename(path.with_name(f"x{path.name}")) for path in paths]
    run(moved, network)
    assert network.seen == 10
    Image.new("RGB", (9, 8), "white").save(moved[5])
    found = run(moved, network)
    assert network.seen == 14  # the entry of four images that it stands in
    assert found[5].tolist() == [1, 1, 1]


def test_damaged_and_foreign_entries_are_made_again(paths: list[Path], small_entries: Path) -> None:
    network = Counting()
    expected = run(paths, network)
    first, second, third = sorted(small_entries.iterdir())
    first.write_bytes(b"rubbish")
    second.write_bytes(third.read_bytes())
    assert torch.equal(run(paths, network), expected)
    assert network.seen in (10 + 8, 10 + 6)  # entries of 4, 4 and 2 images
    before = network.seen
    run(paths, network)
    assert network.seen == before


def test_bad_files_are_told_and_not_cached(paths: list[Path], small_entries: Path) -> None:
    paths[1].write_text("no image")
    paths[2].unlink()
    network, into = Counting(), EmbeddedSet(3, 3)
    done: list[int] = []
    bad = embed_files(paths, network.embedding(), into, on_images=done.append)
    assert [Path(path).name for path, _ in bad] == ["1.png", "2.png"]
    assert into.count == 8
    assert done == [4, 4, 2]
    assert len(list(small_entries.iterdir())) == 2
