"""The 70x70 patch discriminator."""

import pytest
import torch
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.models.patchgan import PatchDiscriminator, infer_arguments


def test_parameter_count_is_the_official_one() -> None:
    with torch.device("meta"):
        discriminator = PatchDiscriminator()
    assert sum(p.numel() for p in discriminator.parameters()) == 2_764_737


def test_layers_stand_at_the_official_positions() -> None:
    names = set(PatchDiscriminator(2).state_dict())
    assert names == {f"model.{n}.{f}" for n in (0, 2, 5, 8, 11) for f in ("weight", "bias")}


def test_256_pixels_give_30_scores_a_side() -> None:
    with torch.device("meta"):
        scores = PatchDiscriminator()(torch.empty(2, 3, 256, 256))
    assert scores.shape == (2, 1, 30, 30)


def test_a_score_sees_70_by_70_pixels() -> None:
    discriminator = PatchDiscriminator(width=2)
    for place, module in enumerate(discriminator.model):
        if isinstance(module, nn.InstanceNorm2d):  # its statistics are of the whole image
            discriminator.model[place] = nn.Identity()
    images = torch.randn(1, 3, 128, 128, requires_grad=True)
    discriminator(images)[0, 0, 7, 7].backward()
    assert images.grad is not None
    seen = images.grad.abs().sum((0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [70, 70]


def test_scores_are_not_bounded_and_layers_leak() -> None:
    discriminator = PatchDiscriminator(2, layers=2, channels=1)
    leaks = [m.negative_slope for m in discriminator.modules() if isinstance(m, nn.LeakyReLU)]
    assert leaks == [0.2] * 3
    nn.init.constant_(discriminator.get_parameter("model.8.bias"), 7.0)
    assert discriminator(torch.zeros(1, 1, 32, 32)).min() > 6


def test_width_stops_doubling_at_eight_times() -> None:
    discriminator = PatchDiscriminator(width=2, layers=5)
    widths = [m.out_channels for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [2, 4, 8, 16, 16, 16, 1]


def test_with_batch_norm_it_is_pix2pix_s_own() -> None:
    """Norms have a scale and a shift, convolutions in front of them no bias."""
    with torch.device("meta"):
        discriminator = PatchDiscriminator(norm="batch")
    assert sum(p.numel() for p in discriminator.parameters()) == 2_764_737 + 128 + 256 + 512
    names = set(discriminator.state_dict())
    assert {"model.0.bias", "model.3.running_var", "model.9.weight", "model.11.bias"} <= names
    assert not names & {"model.2.bias", "model.5.bias", "model.8.bias"}


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_arguments_are_read_off_the_weights(norm: str) -> None:
    state = PatchDiscriminator(3, 4, 6, norm).state_dict()
    assert infer_arguments(state) == {"width": 3, "layers": 4, "channels": 6, "norm": norm}
    assert infer_arguments({"model.0.weight": torch.zeros(2, 3, 4, 4)}) == {}


def test_an_empty_network_is_refused() -> None:
    with pytest.raises(UserError, match="got 64, 0 and 3"):
        PatchDiscriminator(layers=0)
    with pytest.raises(UserError, match="one of instance, batch, got group"):
        PatchDiscriminator(norm="group")
