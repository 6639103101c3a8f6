"""Objects beside tensors are read as plain data; nothing of them runs."""

import argparse
import collections
import datetime
import enum
import pathlib
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan_slimming.errors import UserError
from gan_slimming.models.weights.candidates import tensors_of
from gan_slimming.models.weights.file import read_content

WEIGHT = torch.arange(4.0)
RUN: list[str] = []


class Options:
    """Somebody's own class: reading it must not call this."""

    def __init__(self, size: int = 1) -> None:
        self.size = size

    def __setstate__(self, state: dict[str, Any]) -> None:
        RUN.append("setstate")


class Easy(dict[str, Any]):
    """A mapping with attributes, as configurations are."""


class Colour(enum.Enum):
    RED = 1


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, ("RUN.append('eval')",)


Pair = collections.namedtuple("Pair", "a b")

HARMLESS = [
    argparse.Namespace(size=64, other=argparse.Namespace(a=[1])),
    np.float64(31.2),
    np.int64(3),
    np.zeros((2, 3), order="F"),
    np.array(["a", None], dtype=object),
    np.random.RandomState(0).get_state(),
    collections.defaultdict(list, a=[1]),
    collections.deque([1, 2], maxlen=3),
    collections.Counter("aab"),
    pathlib.PurePosixPath("a/b"),
    pathlib.PureWindowsPath("c:/x"),
    datetime.datetime(2020, 1, 2),
    datetime.timedelta(1),
    types.SimpleNamespace(a=1),
    frozenset({1}),
    slice(1, 2),
    range(3),
    1 + 2j,
    Options(3),
    Easy(a=1),
    Colour.RED,
    Pair(1, 2),
    torch.nn.ReLU(),
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1),
    Options,
    torch.relu,
]


@pytest.mark.parametrize("other", HARMLESS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("new_format", [True, False])
def test_tensors_beside_harmless_objects_are_read(
    other: Any, new_format: bool, tmp_path: Path
) -> None:
    if isinstance(other, torch.nn.Module) and not new_format:
        return  # the old format keeps the source code of modules beside them, which is refused
    path, before = tmp_path / "w.pt", torch.serialization.get_safe_globals()
    torch.save(
        {"g": {"w": WEIGHT}, "more": [other]}, path, _use_new_zipfile_serialization=new_format
    )
    RUN.clear()
    assert torch.equal(tensors_of(read_content(path)["g"])["w"], WEIGHT)
    assert RUN == []
    assert set(torch.serialization.get_safe_globals()) == set(before)


def test_a_state_dict_of_arrays_is_one_of_tensors(tmp_path: Path) -> None:
    arrays = {
        "float": np.arange(6, dtype=np.float32).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"),
    }
    torch.save({"params": arrays}, tmp_path / "w.pt")
    found = tensors_of(read_content(tmp_path / "w.pt")["params"])
    assert {k: t.tolist() for k, t in found.items()} == {k: a.tolist() for k, a in arrays.items()}
    assert found["float"].dtype == torch.float32


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"w": WEIGHT, "t": [t]}])
def test_calls_are_refused_and_not_made(wrap: Any, tmp_path: Path) -> None:
    torch.save(wrap(Trap()), tmp_path / "w.pt")
    RUN.clear()
    with pytest.raises(UserError, match=r"holds code or an object \(builtins.eval\)"):
        read_content(tmp_path / "w.pt")
    assert RUN == []


def test_what_was_allowed_before_stays_allowed(tmp_path: Path) -> None:
    torch.save({"w": WEIGHT, "o": argparse.Namespace()}, tmp_path / "w.pt")
    with torch.serialization.safe_globals([Options]):
        read_content(tmp_path / "w.pt")
        assert Options in torch.serialization.get_safe_globals()
    assert Options not in torch.serialization.get_safe_globals()
