"""Two processes train one student as one process does, and stop where they cannot."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import two_processes

SCRIPT = Path(two_processes.__file__)
KINDS = ("norms", "parts", "quantized")


def started(count: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """Start the script as torchrun does, without the seconds that its agent takes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "GROUP_RANK": "0"}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments], text=True, stderr=subprocess.PIPE,
            env=os.environ | told | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes has made."""
    folder = tmp_path_factory.mktemp("two")
    for process in started(2, str(folder), *KINDS, "mistakes"):
        _, said = process.communicate(timeout=500)
        assert process.returncode == 0, said
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """What one process makes; that of 'parts' computes all images at once."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {kind: two_processes.result("whole" if kind == "parts" else kind) for kind in KINDS}
    torch.set_num_threads(threads)
    return found


def same(one: Any, other: Any, tolerance: float) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_they_agree_with_one(kind: str, made: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    expected, found = alone[kind], made[0][kind]
    if kind != "quantized":
        assert any(len(kept) < 8 for kept in expected["kept"].values())
    same(found["kept"], expected["kept"], 0)
    same(found["terms"], expected["terms"], 1e-5)
    same(found["replay"], expected["replay"], 1e-5)
    floats = [
        {name: x for name, x in state.items() if isinstance(x, torch.Tensor)}
        for state in (found["student"], expected["student"])
    ]
    same(floats[0], floats[1], 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_equal_to_each_other(kind: str, made: list[dict[str, Any]]) -> None:
    same(made[0][kind], made[1][kind], 0)


def test_what_they_tell_each_other(made: list[dict[str, Any]]) -> None:
    for rank, told in enumerate(side["mistakes"] for side in made):
        assert (told["first"], told["largest"], told["found"]) == ("of 0", 7, "here")
        assert told["error"].startswith(
            f"processes {rank} and {1 - rank} of this run have other channels to cut"
        )
        assert told["lost"].startswith("another process of this run has ended") is (rank == 0)
