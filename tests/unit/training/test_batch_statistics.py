"""Running statistics taken anew: those of the batches, layer by layer, and nothing else moves."""

from __future__ import annotations

import torch
from torch import nn

from gan_slimming.training.batch_statistics import has_batch_statistics, recalibrate


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(3, momentum=0.3), nn.Conv2d(3, 4, 1), nn.Dropout(0.5), nn.BatchNorm2d(4)
    )


def test_statistics_are_means_over_the_batches_as_layers_see_them() -> None:
    module = net()
    batches = [(torch.randn(8, 3, 6, 6) * 3 + 1,) for _ in range(3)]
    weights = [p.detach().clone() for p in module.parameters()]
    recalibrate(module, batches)
    first, second = module[0], module[3]
    assert isinstance(first, nn.BatchNorm2d)
    assert isinstance(second, nn.BatchNorm2d)
    assert first.running_mean is not None
    assert first.running_var is not None
    assert second.running_mean is not None
    means = torch.stack([x.mean((0, 2, 3)) for (x,) in batches])
    spreads = torch.stack([x.var((0, 2, 3)) for (x,) in batches])
    torch.testing.assert_close(first.running_mean, means.mean(0))
    torch.testing.assert_close(first.running_var, spreads.mean(0))
    # Without dropout, which is left in evaluation mode: the mean of the first norm's output is 0.
    bias = module[1].bias
    assert isinstance(bias, nn.Parameter)
    torch.testing.assert_close(second.running_mean, bias.detach(), rtol=0, atol=1e-5)
    assert (first.momentum, second.momentum) == (0.3, 0.1)
    assert all(layer.training for layer in module)
    assert all(torch.equal(a, b) for a, b in zip(weights, module.parameters(), strict=True))


def test_other_norms_have_none() -> None:
    assert has_batch_statistics(net())
    assert not has_batch_statistics(nn.BatchNorm2d(3, track_running_stats=False))
    assert not has_batch_statistics(nn.Sequential(nn.InstanceNorm2d(3), nn.Conv2d(3, 3, 1)))
