"""Muon: orthogonal directions, steps of the stated length, state that survives a cut."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.models import CartoonGenerator
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import cut
from gan_slimming.training.muon import NEWTON_SCHULZ, Muon, inner_kernels, orthogonalize


def slow_orthogonalize(matrix: Tensor) -> Tensor:
    """Newton-Schulz as it is written, on the whole matrix, in float64."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.double()
    x = x / x.norm()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(5):
        gram = x @ x.T
        x = a * x + b * gram @ x + c * gram @ gram @ x
    return x.T if tall else x


@pytest.mark.parametrize("shape", [(16, 144), (48, 48), (64, 16), (1, 9)])
def test_directions_are_nearly_orthogonal(shape: tuple[int, int]) -> None:
    """Singular values come out near 1, whatever the matrix's scale, for several at once."""
    made = orthogonalize(torch.randn(3, *shape) * 1e-4)
    values = torch.linalg.svdvals(made)
    # A square Gaussian matrix has singular values close to zero, which take more iterations.
    inner = values if shape[0] != shape[1] else values[:, : int(0.9 * shape[0])]
    assert float(inner.min()) > 0.65
    assert float(values.max()) < 1.25


@pytest.mark.parametrize("shape", [(16, 144), (64, 16)])
def test_the_gram_form_equals_the_plain_iteration(shape: tuple[int, int]) -> None:
    matrices = torch.randn(2, *shape)
    expected = torch.stack([slow_orthogonalize(m) for m in matrices])
    torch.testing.assert_close(orthogonalize(matrices).double(), expected, atol=2e-4, rtol=2e-3)


def test_a_dead_direction_gives_no_step() -> None:
    assert orthogonalize(torch.zeros(1, 4, 9)).abs().max() == 0


def slow_steps(kernel: Tensor, gradients: list[Tensor], axis: int, lr: float) -> Tensor:
    """The rule of the docstring, for one kernel, in float64."""
    kernel, sums = kernel.double(), torch.zeros_like(kernel, dtype=torch.float64)
    for gradient in gradients:
        sums = 0.9 * sums + gradient.double()
        direction = (gradient.double() + 0.9 * sums).movedim(axis, 0)
        update = slow_orthogonalize(direction.flatten(1)).view(direction.shape).movedim(0, axis)
        rms = kernel.square().mean().sqrt()
        kernel = kernel - lr * rms * update / update.square().mean().sqrt()
    return kernel


@pytest.mark.parametrize("axis", [0, 1])
def test_batched_steps_equal_the_slow_reference(axis: int) -> None:
    """Kernels of one shape move together, and each as it would alone."""
    shapes = [(6, 4, 3, 3), (6, 4, 3, 3), (4, 6, 3, 3)]
    kernels = [nn.Parameter(torch.randn(shape) * 0.1) for shape in shapes]
    gradients = [[torch.randn(shape) for _ in range(3)] for shape in shapes]
    expected = [
        slow_steps(k.detach(), g, axis, 0.02) for k, g in zip(kernels, gradients, strict=True)
    ]
    optimizer = Muon([{"params": kernels, "axis": axis}], lr=0.02)
    for step in range(3):
        for kernel, given in zip(kernels, gradients, strict=True):
            kernel.grad = given[step].clone()
        optimizer.step()
    for kernel, wanted in zip(kernels, expected, strict=True):
        torch.testing.assert_close(kernel.detach().double(), wanted, atol=2e-6, rtol=1e-4)


def test_a_step_is_the_stated_share_of_the_weight() -> None:
    kernel = nn.Parameter(torch.randn(8, 4, 3, 3) * 0.3)
    before = kernel.detach().clone()
    kernel.grad = torch.randn_like(kernel) * 1e-5
    Muon([kernel], lr=0.02).step()
    moved = (kernel.detach() - before).square().mean().sqrt() / before.square().mean().sqrt()
    assert float(moved) == pytest.approx(0.02, rel=1e-4)


def test_kernels_without_a_gradient_stay() -> None:
    still, moving = (nn.Parameter(torch.ones(4, 2, 3, 3)) for _ in range(2))
    moving.grad = torch.randn_like(moving)
    Muon([still, moving]).step()
    assert bool((still == 1).all())
    assert bool((moving != 1).any())


def test_first_last_and_grouped_kernels_are_left_out() -> None:
    """Every dense kernel in between is there once, transposed ones with axis 1."""
    student = prepare(CartoonGenerator(width=4, blocks=1).eval(), (torch.zeros(1, 3, 16, 16),))
    groups = inner_kernels(student)
    found = {id(p): group["axis"] for group in groups for p in group["params"]}
    names = {name: found[id(p)] for name, p in student.module.named_parameters() if id(p) in found}
    layers = dict(student.module.named_modules())
    convolutions = {
        name: layer for name, layer in layers.items() if isinstance(layer, nn.modules.conv._ConvNd)
    }
    order = student.graph.quantized_layers
    inner = {name for name in convolutions if name not in (order[0], order[-1])}
    assert {name.removesuffix(".weight") for name in names} == inner
    for name, axis in names.items():
        layer = convolutions[name.removesuffix(".weight")]
        assert axis == int(isinstance(layer, nn.ConvTranspose2d))


def test_a_cut_slices_the_momentum() -> None:
    """The cut student goes on as if the removed channels had never been there."""
    student = prepare(CartoonGenerator(width=4, blocks=1).eval(), (torch.zeros(1, 3, 16, 16),))
    optimizer = Muon(inner_kernels(student))
    student(torch.randn(1, 3, 16, 16)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    group = next(g for g in student.graph.prunable if g.channels > 2)
    mask = torch.arange(group.channels) % 2 == 0
    kernels = [kernel for g in optimizer.param_groups for kernel in g["params"]]
    whole = {id(k): optimizer.state[k]["momentum"].clone() for k in kernels}
    cut(student, {group.name: mask}, [optimizer])
    narrower = 0
    for kernel in kernels:
        sums = optimizer.state[kernel]["momentum"]
        assert sums.shape == kernel.shape
        before = whole[id(kernel)]
        axes = [axis for axis in range(2) if before.shape[axis] != sums.shape[axis]]
        narrower += bool(axes)
        for axis in axes:
            before = before.index_select(axis, mask.nonzero().flatten())
        assert torch.equal(sums, before)
    assert narrower > 0
    student(torch.randn(1, 3, 16, 16)).square().mean().backward()
    optimizer.step()


def test_state_goes_on_bit_for_bit() -> None:
    """A saved and loaded optimiser takes the same steps as the one that went on."""
    kernels = [nn.Parameter(torch.randn(6, 4, 3, 3)) for _ in range(2)]
    gradients = [[torch.randn(6, 4, 3, 3) for _ in range(2)] for _ in range(4)]

    def steps(optimizer: Muon, given: list[list[Tensor]]) -> None:
        for pair in given:
            for kernel, gradient in zip(optimizer.param_groups[0]["params"], pair, strict=True):
                kernel.grad = gradient.clone()
            optimizer.step()

    optimizer = Muon(kernels)
    steps(optimizer, gradients[:2])
    saved = copy.deepcopy(optimizer.state_dict())
    copies = [nn.Parameter(kernel.detach().clone()) for kernel in kernels]
    steps(optimizer, gradients[2:])
    resumed = Muon(copies)
    resumed.load_state_dict(saved)
    steps(resumed, gradients[2:])
    for kernel, again in zip(kernels, copies, strict=True):
        assert torch.equal(kernel, again)


def test_a_step_computes_and_returns_the_loss_of_its_closure() -> None:
    kernel = nn.Parameter(torch.randn(4, 2, 3, 3))
    optimizer = Muon([kernel])

    def closure() -> float:
        loss = kernel.square().sum()
        loss.backward()
        return float(loss.detach())

    expected, before = float(kernel.detach().square().sum()), kernel.detach().clone()
    assert optimizer.step(closure) == pytest.approx(expected)
    assert not torch.equal(kernel.detach(), before)
    assert optimizer.step() is None


def test_zeros_leave_zero_by_steps_of_a_small_weight() -> None:
    kernel = nn.Parameter(torch.zeros(4, 2, 3, 3))
    kernel.grad = torch.randn_like(kernel)
    Muon([kernel], lr=0.5).step()
    assert float(kernel.detach().square().mean().sqrt()) == pytest.approx(0.5e-4, rel=1e-4)


def test_kernels_move_in_their_own_precision() -> None:
    kernel = nn.Parameter(torch.randn(4, 2, 3, 3, dtype=torch.float64))
    before = kernel.detach().clone()
    kernel.grad = torch.randn_like(kernel)
    assert orthogonalize(kernel.grad.flatten(2)).dtype == torch.float64
    Muon([kernel]).step()
    assert kernel.dtype == torch.float64
    assert not torch.equal(kernel.detach(), before)


def test_outputs_are_on_the_first_axis_unless_said() -> None:
    kernel = nn.Parameter(torch.randn(6, 4, 3, 3))
    gradient = torch.randn(6, 4, 3, 3)
    expected = slow_steps(kernel.detach(), [gradient], 0, 0.02)
    kernel.grad = gradient
    Muon([kernel]).step()
    torch.testing.assert_close(kernel.detach().double(), expected, atol=1e-5, rtol=1e-4)
