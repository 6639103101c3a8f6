"""Any generator: the foreign nets as ONNX files, in every form, at sizes that were not traced."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from tests.property.foreign_nets import NETS, inputs_of
from tests.property.random_nets import STYLE, RandomNet
from tests.property.test_foreign_nets import (
    damaged,
    drawn,
    prepared,
    random_seeds,
    random_teacher,
    teacher_of,
)
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.export.trace.graph import trace
from gan_slimming.student.student import calibrate, prepare
from gan_slimming.student.surgery import extract

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from gan_slimming.export import parity  # noqa: E402
from gan_slimming.export.onnx import onnx_model  # noqa: E402

TAKEN = ("image", "latent", "latent+class")
"""Inputs of an exported file."""
EXPORTED = [name for name, net in NETS.items() if net.takes in TAKEN]
IN_INTEGERS = [
    "self_attention", "tokens", "style_gan", "shuffled", "gated", "channels_last", "inverted",
    "conv_next",
]  # fmt: skip
"""Nets whose arguments follow the image's size, or that have linear layers on more than vectors,
choices or pieces, or norms over all channels: their int8 forms too."""
RUNTIMES = ("onnxruntime", "openvino")


def contract_of(name: str) -> InputContract:
    if NETS[name].takes == "image":
        return InputContract(multiple_of=4)
    return InputContract(latent_size=8, classes=4 if "class" in NETS[name].takes else 0)


def single(name: str, size: int, batch: int) -> tuple[torch.Tensor, ...]:
    made = inputs_of(NETS[name].takes, size, 3, batch)
    return tuple(x.float() if x.is_floating_point() else x for x in made)


@pytest.mark.parametrize("name", EXPORTED)
def test_what_was_extracted_goes_into_an_onnx_file(name: str) -> None:
    small = extract(damaged(prepared(name), 4, 0.4)).float()
    traced = trace(small, contract_of(name), 16, quantized=False)
    content = onnx_model(traced, "none", 17, {})[0].SerializeToString()
    given = [single(name, 16, 1), single(name, 28, 2)]
    assert max(parity.differences(small, content, given, RUNTIMES).values()) < 1e-4


class OneStyle(nn.Module):
    """A random net that has one style, so that it takes an image alone."""

    def __init__(self, net: RandomNet):
        super().__init__()
        self.net = net
        self.register_buffer("style", torch.linspace(0, 1, STYLE, dtype=torch.float64)[None])

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x, self.get_buffer("style").expand(x.shape[0], -1))


@drawn
@given(random_seeds)
def test_what_was_extracted_of_random_nets_goes_into_an_onnx_file(seed: int) -> None:
    teacher = OneStyle(random_teacher(seed))
    exact = extract(damaged(prepare(teacher, inputs_of("image", 16), bits=None), seed, 0.4))
    given = [inputs_of("image", size, 3, batch)[0].float() for size, batch in ((16, 1), (28, 2))]
    assert_written_alike(exact, InputContract(multiple_of=4), 16, given)


@drawn
@given(random_seeds)
def test_random_nets_compute_in_integers_what_was_trained(seed: int) -> None:
    teacher = OneStyle(random_teacher(seed)).float()
    images = inputs_of("image", 16, 1, 4)[0].float()
    how: dict[str, Any] = {"quantize_outputs": seed % 2 == 0, "weight_bits": 7 + seed // 2 % 2}
    student = prepare(teacher, (images[:1],), **how)
    calibrate(student, [(images,)])
    for gate in student.gates:
        gate.data[1::3] = 0.0
    contract, small = InputContract(multiple_of=4), extract(student)
    traced, inputs = (
        trace(small, contract, 16, quantized=True),
        dummy_inputs(contract, (20, 24)),
    )
    forms: list[tuple[Any, tuple[str, ...]]] = [("qdq", RUNTIMES), ("integer", RUNTIMES[:1])]
    for form, runtimes in forms:
        assert onnx_model(traced, form, 17, {})[1] == []
        rows = parity.check_layers(small, traced, form, 17, inputs, runtimes)
        assert {row.layer for row in rows} == set(traced.layers)


def assert_written_alike(
    exact: nn.Module, contract: InputContract, side: int, given: list[Tensor]
) -> None:
    """The float file of a net in float64 agrees with it in every runtime, but for rounding."""
    small = copy.deepcopy(exact).float()
    content = onnx_model(trace(small, contract, side, quantized=False), "none", 17, {})[0]
    with torch.no_grad():
        # Norms of maps that are nearly flat, and softmax, make much of what float32 rounds away;
        # OpenVINO rounds more than torch.
        rounded = max(float((small(x) - exact(x.double())).abs().max()) for x in given)
    inputs = [(x,) for x in given]
    found = parity.differences(small, content.SerializeToString(), inputs, RUNTIMES)
    assert max(found.values()) < max(1e-4, 500 * rounded)


def quantized(name: str, outputs: bool) -> nn.Module:
    """An int8 student of which every second channel that can go is gone."""
    takes = NETS[name].takes
    student = prepare(teacher_of(name), inputs_of(takes, 16), quantize_outputs=outputs)
    calibrate(student, [inputs_of(takes, 16, 1, 4)])
    for gate in student.gates:
        gate.data[1::2] = 0.0
    return copy.deepcopy(extract(student)).float()


@pytest.mark.parametrize("outputs", [False, True])
@pytest.mark.parametrize("name", IN_INTEGERS)
def test_its_int8_layers_compute_what_was_trained(name: str, outputs: bool) -> None:
    small, contract = quantized(name, outputs), contract_of(name)
    traced = trace(small, contract, 16, quantized=True)
    given = dummy_inputs(contract, (20, 24))
    values = single(name, 24, 2)
    with torch.no_grad():
        expected = small(*values).numpy()
    forms: list[tuple[Any, tuple[str, ...]]] = [("qdq", RUNTIMES), ("integer", RUNTIMES[:1])]
    for form, runtimes in forms:
        model, float_layers = onnx_model(traced, form, 17, {})
        assert float_layers == []
        rows = parity.check_layers(small, traced, form, 17, given, runtimes)
        assert {row.layer for row in rows} == set(traced.layers)
        for runtime in runtimes:
            run = parity.START[runtime](model.SerializeToString(), 1)[0]
            apart = abs(run(*(x.numpy() for x in values)) - expected)
            assert apart.mean() < 0.02 * expected.std()  # few rounding flips
