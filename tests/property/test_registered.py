"""Every registered generator: one group for each channel, exact extraction, the same in a file."""

from __future__ import annotations

import copy
import functools
import os

import pytest
import torch
from tests.property.test_extraction import EXACT, randomise
from tests.property.test_foreign_nets import check_groups, damaged, difference
from tests.tiny_nets import SHALLOW, example
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.models.registry import build_generator, registered, spec_of
from gan_slimming.runtime.openvino_int8 import ISA_LIMIT, KINDS
from gan_slimming.student.student import Student, calibrate, prepare
from gan_slimming.student.surgery import cut, extract

ONE_OF_EACH = [name for name in registered() if name not in ("cyclegan-6", "unet-256")]
"""Without those that are only deeper than another: each takes a runtime many seconds."""

KIND = os.environ.get(ISA_LIMIT)
"""Another kind of CPU that this one stands for."""
TURN = list(KINDS).index(KIND) if KIND in KINDS else 0
IN_INTEGERS = [
    pytest.param(name, outputs, id=f"{name}-{'rounded' if outputs else 'float'}-outputs")
    for number, name in enumerate(ONE_OF_EACH)
    for outputs in (False, True)
    if not KIND or (number + TURN) % 4 == 2 * outputs
]
"""On other kinds of CPUs the nets take turns: each has both forms, on one kind of every four."""


@functools.cache
def teacher_of(name: str) -> nn.Module:
    torch.manual_seed(1)
    teacher = build_generator(name, width=4, **SHALLOW.get(name, {})).double().eval()
    return randomise(teacher, torch.Generator().manual_seed(1))


def contract_of(name: str) -> InputContract:
    return spec_of(teacher_of(name)).contract


def side_of(contract: InputContract) -> int:
    """Return the side of the smallest example in pixels; 0 for noise."""
    return 0 if contract.latent_size else example(contract).shape[-1]


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


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_file_computes_what_was_extracted(name: str) -> None:
    from tests.property.test_foreign_export import assert_written_alike  # needs the runtimes

    contract = contract_of(name)
    given = [example(contract, batch, larger) for batch, larger in ((1, 0), (2, 1))]
    small = extract(damaged(prepared(name), 4, 0.4))
    assert_written_alike(small, contract, side_of(contract), given)


@pytest.mark.int8
@pytest.mark.parametrize(("name", "outputs"), IN_INTEGERS)
def test_a_file_computes_in_integers_what_was_trained(name: str, outputs: bool) -> None:
    from tests.property.test_foreign_export import RUNTIMES, parity, trace  # needs the runtimes

    contract = contract_of(name)
    side = side_of(contract)
    student = copy.deepcopy(prepared(name, 8, outputs))
    calibrate(student, [(example(contract, 2).double(),)])
    for gate in student.gates:
        gate.data[1::2] = 0.0
    quantized = extract(student).float()
    traced = trace(quantized, contract, side, quantized=True)
    trial = dummy_inputs(contract, (side, side))
    rows = parity.check_layers(quantized, traced, "qdq", 17, trial, RUNTIMES)
    rows += parity.check_layers(quantized, traced, "integer", 17, trial, RUNTIMES[:1])
    assert {row.layer for row in rows} == set(traced.layers)
    assert max(row.left_out for row in rows) < 0.05
