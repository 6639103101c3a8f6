"""What channels are worth at the start: independent of the parametrisation, and truly measured."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.student.student import Student, prepare
from gan_slimming.training import saliency
from gan_slimming.training.saliency import MIN_GATE, channel_saliency, start_gates

IMAGE = torch.randn(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def net() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 5, 3, padding=1), nn.InstanceNorm2d(5, affine=True), nn.ReLU()),
        nn.Conv2d(5, 3, 3, padding=1),
    ).double()


def student_of(module: nn.Module) -> Student:
    return prepare(module, (IMAGE,), bits=None)


def worth(module: nn.Module, seed: int = 0) -> Tensor:
    """(5,) saliency of the hidden channels."""
    found = channel_saliency(student_of(module), [(IMAGE,)], seed)
    assert len(found) == 1
    return next(iter(found.values()))


def test_a_channel_that_contributes_nothing_has_none_and_the_least_gate() -> None:
    module = net()
    module.get_parameter("3.weight").data[:, 2] = 0
    found = worth(module)
    assert found[2] == 0
    assert (found[[0, 1, 3, 4]] > 0).all()
    student = student_of(module)
    start_gates(student, [(IMAGE,)], 0)
    gates = student.gates[0].detach()
    assert gates[2] == MIN_GATE == gates.min()


@pytest.mark.parametrize("bits", [None, 8])
def test_starting_the_gates_leaves_the_function(bits: int | None) -> None:
    module = net()
    student = prepare(module, (IMAGE,), bits=bits)
    for quantizer in student.activation_quantizers():
        quantizer.observe(IMAGE)
    before = student.eval()(IMAGE)
    start_gates(student, [(IMAGE,)], 0)
    after = student.eval()(IMAGE)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-10)
    gates = student.gates[0].detach()
    assert len(set(gates.tolist())) == 5
    assert float(gates.mean()) == pytest.approx(1, abs=1e-6)


def test_rescaling_between_a_norm_and_the_next_weights_changes_nothing() -> None:
    """gamma itself would follow the factor: that is the measure this one replaces."""
    module = net()
    expected = worth(module)
    factor = torch.tensor([4.0, 0.25, 1.0, 100.0, 0.01], dtype=torch.float64)
    module.get_parameter("1.weight").data *= factor
    module.get_parameter("1.bias").data *= factor
    module.get_parameter("3.weight").data /= factor[None, :, None, None]
    torch.testing.assert_close(worth(module), expected, rtol=1e-6, atol=0)
    assert module.get_parameter("1.weight").data.argmax() == 3


def test_on_a_linear_net_it_is_the_change_that_removing_the_channel_makes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E over v of <v, Phi(y_c)>^2 = sum over levels of 4^level * mean square of level."""
    monkeypatch.setattr(saliency, "DRAWS", 600)
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)).double()
    found = worth(module) / 600**0.5
    outputs = module.get_parameter("1.weight")
    with torch.no_grad():
        whole = module(IMAGE)
        for channel in range(4):
            weight = outputs[:, channel].clone()
            outputs[:, channel] = 0
            change, expected = whole - module(IMAGE), 0.0
            outputs[:, channel] = weight
            for level in range(3):
                expected += 4**level * float(change.square().mean())
                change = F.avg_pool2d(change, 2)
            assert float(found[channel]) == pytest.approx(expected**0.5, rel=0.15)


def test_the_seed_decides_the_directions_and_no_gradient_stays() -> None:
    module = net()
    assert torch.equal(worth(module, 1), worth(module, 1))
    assert not torch.equal(worth(module, 1), worth(module, 2))
    student = student_of(module)
    channel_saliency(student, [(IMAGE,)], 0)
    assert all(parameter.grad is None for parameter in student.parameters())
    assert student.training


def test_gates_stay_where_nothing_moves_the_output() -> None:
    module = net()
    module.append(nn.Threshold(1e9, 0.0))
    student = student_of(module)
    start_gates(student, [(IMAGE,)], 0)
    assert all(bool((gate == 1).all()) for gate in student.gates)
