"""The forms that XNNPACK takes compute what the student does; no runtime is needed for that."""

import dataclasses

import pytest
import torch
from tests.unit.export.xnnpack_student import Net, made
from torch import nn
from torch.nn import functional as F

from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.export.expected import (
    LAYER_TOLERANCE,
    expected_of,
    layer_inputs,
    off_the_borders,
    range_of,
)
from gan_slimming.export.trace.graph import trace
from gan_slimming.export.trace.integers import quantized_layers
from gan_slimming.export.xnnpack.int8 import is_int8
from gan_slimming.export.xnnpack.pads import Pads, padded
from gan_slimming.export.xnnpack.replay import InstanceNorm, Replay, int8_step
from gan_slimming.graph.nodes import module_path

SIDE = 16
CONTRACT = dataclasses.replace(Net.contract, size=SIDE)


@pytest.mark.parametrize("how", [{}, {"quantize_outputs": True}, {"bits": 4}])
@torch.no_grad()
def test_every_int8_layer_is_the_students(how: dict[str, object]) -> None:
    student = made(**how)
    traced = trace(student, CONTRACT, SIDE, quantized=True, batch=1)
    seen = layer_inputs(student, dummy_inputs(CONTRACT, SIDE))
    layers, checked = quantized_layers(student), set()
    for node in traced.nodes:
        layer = traced.layers.get(module_path(node))
        if layer is None or not is_int8(node, layer):
            continue
        path = module_path(node)
        assert layer.inputs is not None
        values, _ = off_the_borders(seen[path], layer.inputs)
        expected, sure = expected_of(layers[path], values, layer.outputs)
        result = int8_step(traced, node, layer, alone=True)[0](values).numpy()
        apart = abs(result - expected).max(initial=0, where=sure)
        assert apart <= LAYER_TOLERANCE * range_of(expected), path
        checked.add(path)
    assert checked >= {"first", "down", "inner", "up"} or how.get("bits") == 4


@torch.no_grad()
def test_the_replay_is_the_student_but_for_flips_of_codes() -> None:
    student = made()
    traced = trace(student, CONTRACT, SIDE, quantized=True, batch=1)
    replay = Replay(traced)
    assert replay.float_layers == ["depthwise"]
    image = torch.rand(1, 3, SIDE, SIDE) * 2 - 1
    expected = student(image)
    assert (replay(image) - expected).abs().mean() < 0.02 * expected.std()
    plain = trace(student, CONTRACT, SIDE, quantized=False, batch=1)
    coarse = Replay(plain)(image)
    assert (coarse - expected).abs().mean() > (replay(image) - expected).abs().mean()


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
@pytest.mark.parametrize("amounts", [(1, 1, 1, 1), (3, 0, 2, 1), (0, 0, 1, 0)])
def test_pads_copy_the_pixels_that_torch_copies(
    mode: str, amounts: tuple[int, int, int, int]
) -> None:
    values = torch.rand(2, 3, 5, 7)
    expected = F.pad(values, amounts, mode=mode)
    assert torch.equal(padded(values, Pads(mode, amounts)), expected)
    below = torch.rand(2, 3, 1, expected.shape[3])
    whole = padded(values, Pads(mode, amounts), [below])
    assert torch.equal(whole, torch.cat([expected, below], 2))


@pytest.mark.parametrize("affine", [True, False])
def test_an_instance_norm_of_means_is_torchs(affine: bool) -> None:
    norm = nn.InstanceNorm2d(4, affine=affine).double()
    values = torch.randn(1, 4, 6, 5, dtype=torch.float64) * 3 + 2
    arrays = [None, None]
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        arrays = [t.detach().numpy() for t in (norm.weight, norm.bias)]
    own = InstanceNorm(*arrays, norm.eps)  # pyright: ignore
    assert torch.allclose(own(values), norm(values), atol=1e-12)
