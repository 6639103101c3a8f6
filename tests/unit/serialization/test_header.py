"""The header of generator.safetensors: no field of it is trusted."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import gan_slimming as gs
from gan_slimming.errors import UserError
from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.serialization.generator_file import (
    load_generator_file,
    read_header,
    save_generator,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and tensors of a quantised generator."""
    teacher = build_generator("cartoongan", width=4, blocks=1).eval()
    prepared = gs.prepare(teacher, (torch.zeros(1, 3, 32, 32),))
    gs.calibrate(prepared, [(torch.rand(1, 3, 32, 32) * 2 - 1,)])
    path = tmp_path_factory.mktemp("whole") / "x.safetensors"
    save_generator(gs.extract(prepared), path, spec_of(teacher), channel_map={"a": [0, 2]})
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        return json.loads(file.metadata()["gan_slimming"]), {n: file.get_tensor(n) for n in names}


def opened(path: Path, header: Any, tensors: dict[str, Any]) -> str:
    """Open a file with this header; return the error, '' if there is none."""
    save_file(tensors, path, metadata={"gan_slimming": json.dumps(header)})
    texts = []
    for reader in (load_generator_file, read_header):
        try:
            reader(path)
            texts.append("")
        except UserError as error:
            texts.append(str(error))
    assert not any("\n" in text for text in texts)
    return texts[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": {"width": 4, "blocks": 10**9}},
        {"arguments": {"width": 10**9, "blocks": 1}},
        {"arguments": {"width": 4, "blocks": "many"}},
        {"quantizers": [[10**10, 8, 0, 1]]},
        {"quantizers": [[-1, 8, 0, 1]]},
        {"quantizers": [[7, 8, 5, 1]]},
        {"quantizers": [[7, 8]]},
        {"vectors": [["x", 10**12, "weight"]]},
        {"vectors": [["x", -4, "weight"]]},
        {"vectors": [["x", 4, "weight", 10**6]]},
        {"vectors": [5]},
        {"channel_map": {"a": "A" * 10**6}},
        {"channel_map": {"a": 5}},
        {"identities": [5]},
        {"contract": {"multiple_of": 10**9}},
        {"contract": {"scale": 0}},
        {"contract": {"channels": "3"}},
        {"contract": {"low": float("nan")}},
        {"contract": {"latent_size": 10**12}},
        {"generator": 5},
        {"format": True},
        {"provenance": []},
    ],
)
def test_every_field_has_a_type_and_a_range(
    whole: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path, changes: dict[str, Any]
) -> None:
    header, tensors = whole
    assert opened(tmp_path / "x.safetensors", header, tensors) == ""
    assert opened(tmp_path / "x.safetensors", header | changes, tensors) != ""


@pytest.mark.parametrize("header", [[], 5, None, "x", {}])
def test_a_header_is_an_object(
    whole: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path, header: Any
) -> None:
    assert "makes no sense" in opened(tmp_path / "x.safetensors", header, whole[1])


def test_a_tower_of_brackets_is_damage(
    whole: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    save_file(whole[1], tmp_path / "x", metadata={"gan_slimming": "[" * 100_000})
    with pytest.raises(UserError, match="makes no sense"):
        read_header(tmp_path / "x")


VALUES = [None, True, -1, 0, 1, 3, 10**12, 1.5, "", "x", [], [[]], {}, {"a": 1}]


def mutated(value: Any, chance: random.Random) -> Any:
    """Replace one value somewhere inside."""
    if isinstance(value, dict | list) and value and chance.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = chance.choice(keys)
        copy = dict(value) if isinstance(value, dict) else list(value)
        copy[key] = mutated(value[key], chance)
        return copy
    return chance.choice(VALUES)


@pytest.mark.parametrize("seed", range(60))
def test_random_changes_are_read_or_refused_in_one_line(
    whole: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path, seed: int
) -> None:
    header = mutated(whole[0], random.Random(seed))
    text = opened(tmp_path / "x.safetensors", header, whole[1])
    assert not text or str(tmp_path / "x.safetensors") in text
