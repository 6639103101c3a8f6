"""Files of torch.save from strangers: read whole, or refused without harm."""

from __future__ import annotations

import functools
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_slimming.data.torch_files import FileDamage, load_tensors, tensors_in
from gan_slimming.errors import UserError
from gan_slimming.models.checkpoints import read_state_dict

STATE = {"a.weight": torch.arange(64.0).reshape(8, 8), "a.bias": torch.ones(8)}


def saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def rezipped(content: bytes, compression: int, extra: int = 0) -> bytes:
    """The same archive, packed again."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(file, "w", compression) as new,
    ):
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry) + bytes(extra))
    return file.getvalue()


def in_itself() -> dict[str, Any]:
    loop: dict[str, Any] = dict(STATE)
    loop["state_dict"] = {"model": loop}
    return loop


def laughs() -> list[Any]:
    value: list[Any] = [0] * 10
    for _ in range(9):
        value = [value] * 10
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(120):
        value = [value]
    return value


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a flipped bit": lambda: saved(STATE).replace(
        torch.tensor([5.0]).numpy().tobytes(), torch.tensor([6.0]).numpy().tobytes(), 1
    ),
    "cut": lambda: saved(STATE)[:-200],
    "compressed": lambda: rezipped(saved(STATE), zipfile.ZIP_DEFLATED, 1 << 20),
    "a dict in itself": lambda: saved(in_itself()),
    "lists of lists of lists": lambda: saved({"x": laughs(), **STATE}),
    "a tower": lambda: saved({"x": deep(), **STATE}),
    "strides of 0": lambda: saved({"a.weight": torch.zeros(1).expand(10**6, 10**6)}),
    "sparse": lambda: saved({
        "a.weight": torch.sparse_coo_tensor(torch.zeros(2, 1), torch.ones(1), (10**6, 10**6))
    }),
    "meta": lambda: saved({"a.weight": torch.empty(10**6, 10**6, device="meta")}),
    "a pickle": lambda: pickle.dumps(STATE),
    "an object": lambda: saved({"a": Path()}),
    "noise": lambda: bytes(range(256)) * 30,
    "empty": lambda: b"",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_one_line(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "x.pth"
    file.write_bytes(HOSTILE[kind]())
    with pytest.raises(UserError, match=r"x\.pth (is|holds)") as told:
        read_state_dict(file)
    text = str(told.value)
    assert "\n" not in text
    assert "weights_only" not in text
    assert len(text) < 400


def test_honest_files_are_read_whole(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    content = {**STATE, "view": shared[2:5], "turned": STATE["a.weight"].t(), "whole": shared}
    for legacy in (False, True):
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
        found = load_tensors(tmp_path / "x.pth")
        assert all(torch.equal(found[name], content[name]) for name in content)


def test_tensors_are_found_in_any_nesting() -> None:
    tensors = [torch.tensor(i) for i in range(4)]
    nested = {"a": tensors[0], "b": [tensors[1], (tensors[2], {"c": {tensors[3]}})], "d": 5}
    assert sorted(int(t) for t in tensors_in(nested)) == [0, 1, 2, 3]
    twice = [1, 2]
    assert tensors_in([twice, twice]) == []  # beside each other is not within
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(FileDamage, match="within itself"):
        tensors_in(loop)


def test_a_container_in_many_places_is_walked_once_and_counted_in_each() -> None:
    one = [torch.zeros(1)]
    assert len(tensors_in([one, {"a": one}])) == 1
    with pytest.raises(FileDamage, match="more than 10,000,000 values"):
        tensors_in(laughs())


def test_levels_are_counted_where_a_container_stands_deepest() -> None:
    tower = functools.reduce(lambda inner, _: [inner], range(60), [])
    higher = functools.reduce(lambda inner, _: [inner], range(60), tower)
    assert tensors_in([tower, tower]) == []
    for order in ([tower, higher], [higher, tower]):
        with pytest.raises(FileDamage, match="within itself"):
            tensors_in(order)


def test_a_pipe_is_no_weights_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.pth")
    with pytest.raises(UserError, match="is no regular file"):
        read_state_dict(tmp_path / "x.pth")
