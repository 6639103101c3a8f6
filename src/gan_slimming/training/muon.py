"""Muon: momentum whose directions are made orthogonal, for the kernels of convolutions.

Jordan et al. 2024 ('Muon: an optimizer for hidden layers in neural networks'). A kernel is taken as
the matrix (outputs, inputs * kernel size). Adam lets a few strong directions of such a matrix take
most of the step; here all of them move equally far. Two deviations: a step is as long as a share of
the weight's own root mean square, so that one rate fits every layer; and the Newton-Schulz
iteration runs on the small Gram matrix, which costs a fraction and gives the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.pruning.slicing import output_axis
from gan_slimming.student.student import Student

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""a, b, c of x <- a x + b x^3 + c x^5: it takes (0, 1] to about [0.7, 1.2], small values fast."""
ITERATIONS = 5
SMALLEST_NORM = 1e-20
"""A direction of less length than this, as of a dead layer, stays as short."""
SMALLEST_RMS = 1e-4
"""A weight below this root mean square moves as if it had it, so that zeros can leave zero."""


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum; for kernels of three axes and more.

    v <- momentum * v + g,  O = orthogonalize(g + momentum * v),  W <- W - lr * rms(W) * O / rms(O)

    Args:
        parameters: kernels, or groups {"params": kernels, "axis": of their outputs}; the axis is 0,
            or 1 for transposed convolutions.
        lr: length of a step as a share of the weight's root mean square.
        momentum: decay of the sum of gradients, in [0, 1).
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.02,
        momentum: float = 0.9,
    ):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "axis": 0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore
        """Take one step with the gradients at hand; kernels without one stay."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            kernels = [kernel for kernel in group["params"] if kernel.grad is not None]
            if kernels:
                directions = self._momentum(kernels, group["momentum"])
                for alike in _of_one_shape(kernels):
                    _move(
                        [kernels[i] for i in alike],
                        [directions[i] for i in alike],
                        group["axis"],
                        group["lr"],
                    )
        return loss

    def _momentum(self, kernels: list[Tensor], momentum: float) -> list[Tensor]:
        """Nesterov's direction g + momentum * v of each kernel, after v has taken g in."""
        gradients: list[Tensor] = [kernel.grad for kernel in kernels]  # pyright: ignore
        for kernel in kernels:
            if not self.state[kernel]:
                # A tensor shaped like the kernel: a cut slices it along with it.
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
        sums = [self.state[kernel]["momentum"] for kernel in kernels]
        foreach: Any = torch  # its functions for lists, which torch's optimisers are made of
        foreach._foreach_mul_(sums, momentum)
        foreach._foreach_add_(sums, gradients)
        return list(foreach._foreach_add(gradients, sums, alpha=momentum))


def orthogonalize(matrices: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Return the nearest matrices with orthonormal rows or columns: singular values near 1.

    Newton-Schulz: X <- a X + b (X X^T) X + c (X X^T)^2 X. With A = X X^T and P = a I + b A + c A^2
    it is X <- P X and A <- P A P, so all but the last product stay on A's side, the shorter one.

    Args:
        matrices: (count, rows, columns).
    Returns:
        The same shape and type; singular values in about [0.7, 1.2], but those below a hundredth
        of the root of their squares' sum, which come out smaller.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    values = (matrices if wide else matrices.transpose(1, 2)).float()
    values = values / values.norm(dim=(1, 2), keepdim=True).clamp_min(SMALLEST_NORM)
    a, b, c = NEWTON_SCHULZ
    gram = values @ values.transpose(1, 2)
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    product = identity.expand_as(gram)
    for _ in range(iterations):
        step = torch.baddbmm(a * identity + b * gram, gram, gram, alpha=c)
        product = step @ product
        gram = step @ gram @ step
    result = product @ values
    return (result if wide else result.transpose(1, 2)).to(matrices.dtype)


def _move(kernels: list[Tensor], directions: list[Tensor], axis: int, lr: float) -> None:
    """W <- W - lr * rms(W) * O / rms(O) for kernels of one shape, in place."""
    stacked = torch.stack(directions).movedim(axis + 1, 1)
    matrices = stacked.flatten(2)
    updates = orthogonalize(matrices)
    own = [_rms(kernel).clamp_min(SMALLEST_RMS) for kernel in kernels]
    lengths = updates.norm(dim=(1, 2)) / updates[0].numel() ** 0.5
    factors = lr * torch.stack(own).to(lengths) / lengths.clamp_min(SMALLEST_NORM)
    updates = (updates * factors.view(-1, 1, 1)).view(stacked.shape).movedim(1, axis + 1)
    for kernel, update in zip(kernels, updates, strict=True):
        kernel.sub_(update)


def _rms(values: Tensor) -> Tensor:
    return values.norm() / values.numel() ** 0.5


def _of_one_shape(kernels: Sequence[Tensor]) -> list[list[int]]:
    """Positions of the kernels, those of one shape together, in the order of their first."""
    alike: dict[tuple[torch.Size, torch.dtype, torch.device], list[int]] = {}
    for position, kernel in enumerate(kernels):
        key = (kernel.shape, kernel.dtype, kernel.device)
        alike.setdefault(key, []).append(position)
    return list(alike.values())


def inner_kernels(student: Student) -> list[dict[str, Any]]:
    """Parameter groups for Muon, one per output axis: dense kernels between first and last layer.

    The first and last convolutions touch the image or the noise, where directions differ in what
    they are worth; depthwise and grouped kernels are no matrices. Both are left to Adam.
    """
    outer = {*student.graph.quantized_layers[:1], *student.graph.last_layers}
    kernels: dict[int, dict[int, Tensor]] = {}
    for path, layer in student.module.named_modules():
        if isinstance(layer, nn.modules.conv._ConvNd) and layer.groups == 1 and path not in outer:
            weight = layer._parameters["weight"]  # itself, past any gate on it
            if weight is not None:
                kernels.setdefault(output_axis(layer), {})[id(weight)] = weight
    return [
        {"params": list(found.values()), "axis": axis} for axis, found in sorted(kernels.items())
    ]
