"""The memory that is free."""

from pathlib import Path

import pytest
import torch

from gan_slimming.data import free_memory
from gan_slimming.data.free_memory import free_bytes


def test_a_container_may_leave_less_than_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_memory, "_GROUP", tmp_path)
    of_system = free_bytes(torch.device("cpu"))
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("4000\n")
    (tmp_path / "memory.stat").write_text("anon 7\ninactive_file 500\n")
    assert free_bytes(torch.device("cpu")) == 1500
    (tmp_path / "memory.max").write_text("max\n")
    assert of_system is None or of_system > 2**20
    assert free_bytes(torch.device("cpu")) != 1500
