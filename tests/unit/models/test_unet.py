"""The U-Net: the official layout and names, and what they compute."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.models.unet import Level, UnetGenerator, infer_arguments


def official(state: dict[str, Tensor], images: Tensor, downs: int) -> Tensor:
    """The official network written out, with a batch norm's running statistics."""

    def norm(values: Tensor, name: str) -> Tensor:
        if f"{name}.running_mean" not in state:
            return F.instance_norm(values)
        fields = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (state[f"{name}.{field}"] for field in fields)
        return F.batch_norm(values, mean, variance, scale, shift)

    def convolve(values: Tensor, name: str, up: bool = False) -> Tensor:
        function = F.conv_transpose2d if up else F.conv2d
        bias = state.get(f"{name}.bias")
        return function(values, state[f"{name}.weight"], bias, stride=2, padding=1)

    def level(values: Tensor, name: str, depth: int) -> Tensor:
        activated = F.leaky_relu(values, 0.2)  # in place upstream: the skip is activated, too
        inner = convolve(activated, f"{name}.1")
        if depth < downs - 1:
            inner = level(norm(inner, f"{name}.2"), f"{name}.3.model", depth + 1)
            inner = norm(convolve(F.relu(inner), f"{name}.5", up=True), f"{name}.6")
        else:
            inner = norm(convolve(F.relu(inner), f"{name}.3", up=True), f"{name}.4")
        return torch.cat((activated, inner), 1)

    inner = level(convolve(images, "model.model.0"), "model.model.1.model", 1)
    return torch.tanh(convolve(F.relu(inner), "model.model.3", up=True))


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_it_computes_what_the_official_network_computes(norm: str) -> None:
    generator = UnetGenerator(3, 5, norm).eval()
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            nn.init.normal_(module.running_mean)
    images = torch.rand(2, 3, 32, 64) * 2 - 1
    expected = official(generator.state_dict(), images, 5)
    assert expected.std() > 0.1
    torch.testing.assert_close(generator(images), expected, atol=1e-5, rtol=0)


def test_names_of_the_official_256_pixel_network() -> None:
    names = set(UnetGenerator(2).state_dict())
    inside = "model.model.1" + ".model.3" * 6
    assert {f"{inside}.model.1.weight", f"{inside}.model.4.running_var"} <= names
    assert f"{inside}.model.1.bias" not in names
    assert {name for name in names if name.endswith(".bias") and "3.bias" in name} == {
        "model.model.3.bias"
    }
    assert len([name for name in names if name.endswith("num_batches_tracked")]) == 13


def test_dropout_stands_where_the_official_one_does() -> None:
    generator = UnetGenerator(2)
    places = {name for name, m in generator.named_modules() if isinstance(m, nn.Dropout)}
    stem = "model.model.1" + ".model.3" * 3
    assert places == {f"{stem}{'.model.3' * n}.model.7" for n in range(3)}
    assert not any(isinstance(m, nn.Dropout) for m in UnetGenerator(2, dropout=False).modules())
    assert UnetGenerator(2, dropout=False).state_dict().keys() == generator.state_dict().keys()


def test_widths_stop_doubling_at_eight_times() -> None:
    generator = UnetGenerator(2, 8)
    outputs = [m.out_channels for m in generator.modules() if isinstance(m, nn.Conv2d)]
    assert outputs == [2, 4, 8, 16, 16, 16, 16, 16]


@pytest.mark.parametrize("downs", [2, 5])
def test_the_contract_follows_the_depth(downs: int) -> None:
    generator = UnetGenerator(2, downs).eval()
    side = generator.contract.min_size
    assert side == generator.contract.multiple_of == 2**downs
    images = torch.zeros(1, 3, side, 3 * side)
    assert generator(images).shape == images.shape
    with pytest.raises(RuntimeError):
        generator(torch.zeros(1, 3, side // 2, side))


@pytest.mark.parametrize(("width", "downs", "norm"), [(3, 7, "batch"), (2, 4, "instance")])
def test_arguments_are_read_off_the_weights(width: int, downs: int, norm: str) -> None:
    state = UnetGenerator(width, downs, norm).state_dict()
    assert infer_arguments(state) == {"width": width, "downs": downs, "norm": norm}
    assert infer_arguments({"model.1.weight": torch.zeros(2, 2)}) == {}


def test_fresh_weights_follow_the_paper() -> None:
    state = UnetGenerator(16, 3).state_dict()
    assert state["model.model.0.weight"].std().item() == pytest.approx(0.02, rel=0.1)
    scale = state["model.model.1.model.2.weight"]
    assert scale.mean().item() == pytest.approx(1, abs=0.02)
    assert scale.std() > 0.01


def test_mistakes() -> None:
    with pytest.raises(UserError, match="at least 1 and downs 2, got 64 and 1"):
        UnetGenerator(downs=1)
    with pytest.raises(UserError, match="one of batch, instance, got group"):
        UnetGenerator(norm="group")


def test_a_level_keeps_its_input_beside_its_output() -> None:
    values = torch.randn(1, 2, 4, 4)
    assert torch.equal(Level([nn.Identity()])(values), torch.cat((values, values), 1))
