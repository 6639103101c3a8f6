"""Files as scripts save them: the generator is found, and nothing is taken silently."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gan_slimming.config import WeightsFile
from gan_slimming.errors import UserError
from gan_slimming.models import load_generator
from gan_slimming.models.weights.choice import WeightsWarning

State = dict[str, Tensor]
OWN = "tests.unit.models.weights.test_choice:make"
IMAGES = torch.rand(1, 3, 8, 8)


class Net(nn.Module):
    """Small, with running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.last = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x))


def make(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = Net()
    nn.init.normal_(net.get_buffer("body.1.running_mean"))
    return net


def state_of(seed: int) -> State:
    return dict(make(seed).state_dict())


GOOD, OTHER = state_of(1), state_of(2)
DISCRIMINATOR = dict(nn.Sequential(nn.Conv2d(3, 8, 4), nn.Conv2d(8, 1, 4)).state_dict())


def front(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def parameters(state: State) -> State:
    names = [name for name, _ in make().named_parameters()]
    return {name: state[name] for name in names}


def load(content: Any, folder: Path, **how: Any) -> nn.Module:
    torch.save(content, folder / "w.pth")
    return load_generator(OWN, folder / "w.pth", **how)


def assert_good(found: nn.Module, state: State = GOOD) -> None:
    assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in state.items())


CLEAR: dict[str, Any] = {
    "plain": GOOD,
    **{key: {key: GOOD, "epoch": 1} for key in ["G", "genA2B", "weights", "anything", "a.b"]},
    "deep": {"model": {"nets": {"netG": GOOD}}},
    "list": [GOOD, DISCRIMINATOR],
    "a whole GAN": {"G": GOOD, "D": DISCRIMINATOR, "opt": {"state": {0: {"exp_avg": IMAGES}}}},
    "flat": front("generator.", GOOD) | front("discriminator.", DISCRIMINATOR),
    "lightning": {"state_dict": front("net.G.", GOOD) | front("net.D.", DISCRIMINATOR)},
    "parallel": front("module.", GOOD),
    "mixture": front("module._orig_mod.module.", GOOD),
    "compiled part": {k.replace("body.", "body._orig_mod."): t for k, t in GOOD.items()},
    "flat parallel": {
        "model": front("module.netG._orig_mod.", GOOD) | front("module.netD.", DISCRIMINATOR)
    },
    "noise beside": {"netG": GOOD, "fixed_noise": IMAGES},
    "same twice": {"netG": GOOD, "best": dict(GOOD)},
    "old batch norm": {k: t for k, t in GOOD.items() if not k.endswith("tracked")},
}


@pytest.mark.parametrize("content", CLEAR.values(), ids=CLEAR.keys())
def test_one_candidate_is_taken_without_a_word(content: Any, tmp_path: Path) -> None:
    assert_good(load(content, tmp_path))


AVERAGED: dict[str, Any] = {
    "g_ema": {"generator": OTHER, "g_ema": GOOD},
    "ema": {"model": OTHER, "ema": GOOD},
    "Gs": {"G": OTHER, "D": DISCRIMINATOR, "Gs": GOOD},
    "params": {"params": OTHER, "params_ema": GOOD},
    "flat": front("generator.", OTHER) | front("generator_ema.", GOOD),
    "ema-pytorch": front("online_model.", OTHER) | front("ema_model.", GOOD) | {"step": IMAGES[0]},
    "shadow of parameters": {"netG": GOOD | parameters(OTHER), "ema": {"shadow": parameters(GOOD)}},
    "list of parameters": {
        "model": GOOD | parameters(OTHER),
        "ema": {"decay": 0.9, "shadow_params": list(parameters(GOOD).values())},
    },
    "names without dots": {
        "state_dict": front("model.", GOOD | parameters(OTHER))
        | {f"model_ema.{name.replace('.', '')}": t for name, t in parameters(GOOD).items()}
        | {"model_ema.decay": torch.tensor(0.9), "model_ema.num_updates": torch.tensor(3)},
    },
    "AveragedModel": {
        "net": OTHER,
        "swa": front("module.", GOOD) | {"n_averaged": torch.tensor(4)},
    },
}


@pytest.mark.parametrize("content", AVERAGED.values(), ids=AVERAGED.keys())
def test_averaged_weights_go_before_raw_ones_and_it_is_said(content: Any, tmp_path: Path) -> None:
    with pytest.warns(WeightsWarning, match=r"took .* \(averaged weights\), left "):
        assert_good(load(content, tmp_path))


def test_the_key_takes_another(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_good(load({"g": GOOD, "g_ema": OTHER}, tmp_path, weights_key="g"))
        content = {"state_dict": front("a.", OTHER) | front("b.", GOOD)}
        assert_good(load(content, tmp_path, weights_key="b"))
        assert_good(load(content, tmp_path, weights_key="state_dict.b"))
        named = WeightsFile(tmp_path / "w.pth", key="b")
        assert_good(load_generator(OWN, named))


def test_several_that_fit_are_refused_with_their_keys(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"several that fit .*: G_A, G_B; .* --weights-key G_A"):
        load({"G_A": GOOD, "G_B": OTHER}, tmp_path)
    content = {"G_A": OTHER, "G_B": OTHER, "G_A_ema": OTHER, "G_B_ema": GOOD}
    with pytest.raises(UserError, match="G_A_ema, G_B_ema"):
        load(content, tmp_path)
    with pytest.raises(UserError, match="no key 'netG'; it holds G_A, G_B"):
        load(content, tmp_path, weights_key="netG")


def test_a_key_of_the_generator_goes_before_others(tmp_path: Path) -> None:
    with pytest.warns(WeightsWarning, match="took netG, left encoder"):
        assert_good(load({"encoder": OTHER, "netG": GOOD}, tmp_path))


def test_counters_of_profilers_are_dropped(tmp_path: Path) -> None:
    counters = {f"{m}total_ops": torch.zeros(1, dtype=torch.float64) for m in ("", "body.")}
    with pytest.warns(WeightsWarning, match="2 counter.s. such as body.total_ops dropped"):
        assert_good(load(GOOD | counters, tmp_path))


def test_a_level_round_the_network_needs_no_names_in_the_file(tmp_path: Path) -> None:
    torch.save(front("module.", GOOD), tmp_path / "w.pth")
    found = load_generator("tests.unit.models.weights.test_choice:wrapped", tmp_path / "w.pth")
    assert_good(found.get_submodule("inner.net"))


def wrapped() -> nn.Module:
    inner = nn.Sequential()
    inner.add_module("net", make())
    outer = nn.Sequential()
    outer.add_module("inner", inner)
    return outer


def test_the_nearest_misfit_is_named(tmp_path: Path) -> None:
    content = {"D": DISCRIMINATOR, "G": {k: t for k, t in GOOD.items() if "last" not in k}}
    with pytest.raises(UserError, match=r"w.pth, G, does not fit .*: missing last.bias, last"):
        load(content, tmp_path)


def test_renames_are_proposed_and_made(tmp_path: Path) -> None:
    content = {"params": {k.replace("body", "trunk"): t for k, t in GOOD.items()}}
    with pytest.raises(UserError, match=r"names differ: try --rename trunk=body$"):
        load(content, tmp_path)
    assert_good(load(content, tmp_path, rename=["trunk=body"]))


@pytest.mark.parametrize("kind", ["safetensors", "renamed"])
def test_safetensors_are_told_by_their_content(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "pytorch_model.bin")
    save_file(GOOD, path, metadata={"format": "pt"})
    assert_good(load_generator(OWN, path))
