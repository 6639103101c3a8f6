"""Slicing by name and axis: parameters, buffers, optimiser state, attributes."""

import pytest
import torch
from torch import nn

from gan_slimming.pruning.slicing import slice_tensors, update_attributes

KEEP = torch.tensor([0, 2])


def test_parameters_keep_their_identity_and_the_kept_rows() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    weight = module.get_parameter("0.weight")
    values = weight.detach().clone()
    slice_tensors(module, {("0.weight", 0): KEEP, ("1.running_mean", 0): KEEP})
    assert module.get_parameter("0.weight") is weight
    assert torch.equal(weight, values[KEEP])
    assert module[1].get_buffer("running_mean").shape == (2,)


@pytest.mark.parametrize(
    "build",
    [lambda p: torch.optim.Adam(p, 1e-2), lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9)],
)
def test_optimiser_state_follows_its_channels(build) -> None:
    module = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    optimizer = build(module.parameters())
    module(torch.randn(2, 4, 5, 5)).square().sum().backward()
    optimizer.step()
    weight = module[0].weight
    before = {k: v.clone() for k, v in optimizer.state[weight].items()}
    slice_tensors(module, {("0.weight", 0): KEEP, ("0.weight", 1): KEEP + 1}, [optimizer])
    after = optimizer.state[weight]
    moments = [k for k in before if before[k].dim() == 4]
    assert moments
    assert all(torch.equal(after[k], before[k][KEEP][:, KEEP + 1]) for k in moments)
    assert all(torch.equal(after[k], before[k]) for k in before if k not in moments)


def test_names_that_do_not_exist_are_passed_over() -> None:
    module = nn.Sequential(nn.Linear(3, 4))
    slice_tensors(module, {("0.gate", 0): KEEP, ("9.weight", 0): KEEP})
    assert module[0].weight.shape == (4, 3)


@pytest.mark.parametrize(
    ("layer", "indices", "attributes"),
    [
        (nn.Conv2d(4, 6, 3), {0: KEEP, 1: KEEP}, {"in_channels": 2, "out_channels": 2}),
        (nn.ConvTranspose2d(4, 6, 3), {0: KEEP}, {"in_channels": 2, "out_channels": 6}),
        (nn.Conv2d(4, 4, 3, groups=4), {0: KEEP}, {"groups": 2, "in_channels": 2}),
        (nn.Conv2d(8, 4, 1, groups=2), {1: KEEP}, {"groups": 2, "in_channels": 4}),
        (nn.Linear(4, 6), {1: KEEP}, {"in_features": 2, "out_features": 6}),
        (nn.BatchNorm2d(4), {0: KEEP}, {"num_features": 2}),
        (nn.PReLU(4), {0: KEEP}, {"num_parameters": 2}),
    ],
    ids=lambda v: type(v).__name__,
)
def test_attributes_follow_the_shapes(
    layer: nn.Module, indices: dict[int, torch.Tensor], attributes: dict[str, int]
) -> None:
    root = nn.Sequential(layer)
    slice_tensors(root, {("0.weight", axis): index for axis, index in indices.items()})
    assert {name: getattr(layer, name) for name in attributes} == attributes
    update_attributes(layer)
    assert {name: getattr(layer, name) for name in attributes} == attributes
