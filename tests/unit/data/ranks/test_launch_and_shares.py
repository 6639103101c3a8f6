"""Who is who among the processes of a run, and which images each computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gan_slimming.data.ranks import launch
from gan_slimming.data.ranks.shares import in_order, own_draws, own_places
from gan_slimming.data.sampler import Sampler
from gan_slimming.serialization.follower_folder import FollowerFolder, run_folder

Patch = pytest.MonkeyPatch


def become(patch: Patch, rank: int, count: int) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", count), ("LOCAL_WORLD_SIZE", count)):
        patch.setenv(name, str(value))


def test_a_plain_process_is_the_first_and_alone(monkeypatch: Patch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("RANK", "3")
    assert (launch.count(), launch.rank(), launch.is_first(), launch.alone()) == (1, 0, True, True)


def test_torchrun_tells_each_its_place(monkeypatch: Patch) -> None:
    become(monkeypatch, 5, 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert (launch.count(), launch.rank(), launch.is_first(), launch.alone()) == (
        8,
        5,
        False,
        False,
    )
    assert (launch.local_count(), launch.local_rank()) == (4, 1)


def test_shares_are_a_batch_and_an_input_keeps_its_process(monkeypatch: Patch) -> None:
    indices = torch.tensor([7, 1, 5, 1, 0, 9])
    shares = []
    for rank in range(3):
        become(monkeypatch, rank, 3)
        shares.append(own_places(indices, 10))
    assert sorted(torch.cat(shares).tolist()) == list(range(6))
    assert [sorted(indices[share].tolist()) for share in shares] == [[1, 1], [0, 5], [7, 9]]


def test_alone_a_share_is_the_batch_in_its_order() -> None:
    indices = torch.tensor([7, 1, 5])
    assert own_places(indices, 10).tolist() == [0, 1, 2]
    assert in_order(indices, own_places(indices, 10)) is indices


def test_what_is_read_ahead_is_what_is_drawn(monkeypatch: Patch) -> None:
    become(monkeypatch, 1, 2)
    sampler = Sampler(10, 4, seed=0)
    ahead = own_draws(sampler.coming, 4, 10)(5).tolist()
    drawn = []
    for _ in range(3):
        indices, _ = sampler.next()
        drawn += indices[own_places(indices, 10)].tolist()
    assert ahead == drawn[:5]


def test_only_the_first_process_has_a_folder_that_writes(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    become(monkeypatch, 1, 2)
    folder = run_folder(tmp_path / "run")
    assert isinstance(folder, FollowerFolder)
    folder.check(resume=True, overwrite=False)
    with folder.owned():
        folder.make(overwrite=True)
        folder.write_config({})
        folder.write_images([])
        folder.append_metrics({"step": 1})
        folder.save_checkpoint({})
        folder.drop_metrics_after(0)
    assert not folder.path.exists()
    become(monkeypatch, 0, 2)
    assert not isinstance(run_folder(tmp_path), FollowerFolder)
