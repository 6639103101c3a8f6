"""Every registered generator: one group for each channel, exact extraction, the same in a file."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from tests.property.test_extraction import EXACT, randomise
from tests.property.test_foreign_nets import check_groups, damaged, difference
from tests.tiny_nets import SHALLOW, example
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.models.registry import build_generator, registered, spec_of
from gan_slimming.student.student import Student, calibrate, prepare
from gan_slimming.student.surgery import cut, extract


@functools.cache
def teacher_of(name: str) -> nn.Module:
    torch.manual_seed(1)
    teacher = build_generator(name, width=4, **SHALLOW.get(name, {})).double().eval()
    return randomise(teacher, torch.Generator().manual_seed(1))


def contract_of(name: str) -> InputContract:
    return spec_of(teacher_of(name)).contract


@functools.cache
def prepared(name: str, bits: int | None = None, outputs: bool = False) -> Student:
    given = (example(contract_of(name)).double(),)
    return prepare(teacher_of(name), given, bits=bits, quantize_outputs=outputs)


@pytest.mark.parametrize("name", registered())
def test_every_channel_stands_in_one_group_and_the_student_starts_as_the_teacher(name: str) -> None:
    student = prepared(name)
    check_groups(student.graph, student.module)
    assert len(student.graph.prunable) >= 2
    for larger in (0, 1):
        inputs = (example(contract_of(name), 2, larger).double(),)
        assert difference(student, teacher_of(name), inputs) < 1e-12


@pytest.mark.parametrize("name", registered())
def test_extraction_is_exact_and_a_second_one_changes_nothing(name: str) -> None:
    for seed, share in enumerate([0.3, 0.7]):
        student = damaged(prepared(name), seed, share)
        slim, small = copy.deepcopy(student), extract(student)
        cut(slim, slim.alive())
        for larger in (0, 1):
            inputs = (example(contract_of(name), 2, larger).double(),)
            assert difference(small, student, inputs) < EXACT
            assert difference(slim, student, inputs) < EXACT
        again, whole = extract(prepare(small, inputs, bits=None)), small.state_dict()
        assert all(torch.equal(value, whole[key]) for key, value in again.state_dict().items())


def side_of(contract: InputContract) -> int:
    return 0 if contract.latent_size else example(contract).shape[-1]


@pytest.mark.parametrize("name", registered())
def test_a_float_file_computes_what_was_extracted(name: str) -> None:
    # Skips where the runtimes are not installed.
    from tests.property.test_foreign_export import assert_written_alike

    contract = contract_of(name)
    given = [example(contract, batch, larger) for batch, larger in ((1, 0), (2, 1))]
    exact = extract(damaged(prepared(name), 4, 0.4))
    assert_written_alike(exact, contract, side_of(contract), given)


@pytest.mark.int8
@pytest.mark.parametrize("name", registered())
def test_a_file_computes_what_was_extracted(name: str) -> None:
    from tests.property.test_foreign_export import RUNTIMES, parity, trace

    contract = contract_of(name)
    side = side_of(contract)
    trial = dummy_inputs(contract, (side, side))
    for outputs in (False, True):
        student = copy.deepcopy(prepared(name, 8, outputs))
        calibrate(student, [(example(contract, 2).double(),)])
        for gate in student.gates:
            gate.data[1::2] = 0.0
        quantized = extract(student).float()
        traced = trace(quantized, contract, side, quantized=True)
        rows = parity.check_layers(quantized, traced, "qdq", 17, trial, RUNTIMES)
        rows += parity.check_layers(quantized, traced, "integer", 17, trial, RUNTIMES[:1])
        assert {row.layer for row in rows} == set(traced.layers)
        assert max(row.left_out for row in rows) < 0.05
