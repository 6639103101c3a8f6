"""Codes of few bits in the file: packed without gaps, exact, and refused where they do not fit."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import gan_slimming as gs
from gan_slimming.config import Budget
from gan_slimming.errors import UserError
from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.serialization import generator_file
from gan_slimming.serialization.narrow_codes import (
    bytes_of,
    narrow_codes,
    pack_bits,
    unpack_bits,
    widen_codes,
)
from gan_slimming.training.budget import BudgetController, bytes_left

EXAMPLE = (torch.zeros(1, 3, 32, 32),)


@pytest.mark.parametrize("bits", range(2, 7))
@pytest.mark.parametrize("count", [1, 3, 8, 1001])
def test_every_code_comes_back(bits: int, count: int) -> None:
    top = 2 ** (bits - 1)
    codes = torch.randint(-top, top, (count,), dtype=torch.int8)
    packed = pack_bits(codes, bits)
    assert len(packed) == bytes_of(count, bits) == -(-count * bits // 8)
    assert torch.equal(unpack_bits(packed, bits, count), codes)


def test_two_codes_of_four_bits_share_a_byte() -> None:
    assert pack_bits(torch.tensor([1, -1, 7], dtype=torch.int8), 4).tolist() == [0xF1, 0x07]


def test_what_gains_nothing_stays_bytes() -> None:
    small, wide = torch.zeros(4, 3, 3, 3, dtype=torch.int8), torch.zeros(99, 9, dtype=torch.int8)
    found, shapes = narrow_codes({"a": small, "b": wide, "c": wide}, {"a": 4, "b": 4, "c": 7})
    assert shapes == {"b": [99, 9]}
    assert (found["a"] is small, found["c"] is wide) == (True, True)


def student_of(bits: int) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(2)
    teacher = build_generator("cartoongan", width=8, blocks=2).eval()
    student = gs.prepare(teacher, EXAMPLE, weight_bits=bits)
    gs.calibrate(student, [(torch.rand(1, 3, 32, 32) * 2 - 1,)])
    return gs.extract(student), teacher


@pytest.mark.parametrize("bits", [2, 4, 6, 7, 8])
def test_a_file_of_any_bits_computes_what_was_saved(bits: int, tmp_path: Path) -> None:
    small, teacher = student_of(bits)
    path = tmp_path / "generator.safetensors"
    size = generator_file.save_generator(small, path, spec_of(teacher))
    assert size == path.stat().st_size
    image = torch.rand(1, 3, 36, 44) * 2 - 1
    with torch.no_grad():
        assert torch.equal(gs.load_generator_file(path)(image), small(image))
    header = generator_file.read_header(path)
    assert header["format"] == (2 if bits < 7 else 1)
    assert header["tensors"]["conv01_1.weight"][0] == 8
    packed = [t for t in load_file(path).values() if t.dtype == torch.uint8]
    assert bool(packed) == (bits < 7)
    graph = gs.prepare(teacher, EXAMPLE, weight_bits=bits).graph
    assert 0.8 * size < bytes_left(graph, {}, bits) < 1.25 * size


def test_a_budget_of_bytes_knows_the_bits() -> None:
    _, teacher = student_of(4)
    student = gs.prepare(teacher, EXAMPLE, weight_bits=4)
    graph = student.graph
    assert bytes_left(graph, {}, 4) < 0.7 * bytes_left(graph, {}, 8)
    narrow, whole = (BudgetController(student, Budget(bytes=0.2), b, 10, 0.5) for b in (4, 8))
    assert narrow.start < whole.start
    assert narrow.budget == whole.budget


@pytest.mark.parametrize(
    ("shape", "bits", "error"),
    [([99, 8], 4, ValueError), ([99, "9"], 4, ValueError), ([99, 9], 7, ValueError),
     ([-99, -9], 4, ValueError), ([99, 9], None, KeyError)],
)  # fmt: skip
def test_shapes_that_do_not_belong_to_the_bytes_are_refused(
    shape: list[object], bits: int | None, error: type[Exception]
) -> None:
    packed = pack_bits(torch.zeros(prod((99, 9)), dtype=torch.int8), 4)
    with pytest.raises(error):
        widen_codes({"a": packed}, {"a": shape}, {} if bits is None else {"a": bits})


def test_an_older_reader_says_that_it_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, teacher = student_of(4)
    generator_file.save_generator(small, tmp_path / "g.safetensors", spec_of(teacher))
    monkeypatch.setattr(generator_file, "FORMAT", 1)
    with pytest.raises(UserError, match="format 2, this version of gan-slimming reads up to 1"):
        gs.load_generator_file(tmp_path / "g.safetensors")
