"""The words of keys, and names without what wrappers add."""

import pytest

from gan_slimming.models.weights.names import canonical, is_averaged, names_role, squeezed, words

GENERATORS = "G G_A netG netG_A2B genA2B gen generator g_ema G_ema generatorEMA Gs avg_gen_state"
DISCRIMINATORS = "D D_A netD disA discriminator dis_state_dict critic"


def test_a_key_is_split_at_capitals_and_signs() -> None:
    assert words("netG_A2B.state_dict") == {"net", "g", "a", "b", "state", "dict"}
    assert words("generatorEMA") == {"generator", "ema"}


@pytest.mark.parametrize("key", GENERATORS.split())
def test_keys_of_generators(key: str) -> None:
    assert names_role(key, "generator")
    assert not names_role(key, "discriminator")


@pytest.mark.parametrize("key", DISCRIMINATORS.split())
def test_keys_of_discriminators(key: str) -> None:
    assert names_role(key, "discriminator")
    assert not names_role(key, "generator")


@pytest.mark.parametrize(
    "key", ["g_ema", "Gs", "ema", "params_ema", "ema_model", "swa_avg", "shadow", "G_running"]
)
def test_keys_of_averages(key: str) -> None:
    assert is_averaged(key)


@pytest.mark.parametrize("key", ["G", "generator", "model", "params", "schema", "embedding"])
def test_keys_of_raw_weights(key: str) -> None:
    assert not is_averaged(key)


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("module._orig_mod.module.a.weight", "a.weight"),
        ("a._orig_mod.b._fsdp_wrapped_module.weight", "a.b.weight"),
        ("module", "module"),
        ("a.parametrizations.weight.original0", "a.weight_g"),
        ("a.parametrizations.weight.original1", "a.weight_v"),
        ("a.parametrizations.weight.original", "a.weight_orig"),
        ("a.parametrizations.weight.0._u", "a.weight_u"),
        ("parametrizations.weight.original0", "weight_g"),
    ],
)
def test_canonical_names(name: str, bare: str) -> None:
    assert canonical(name) == bare


def test_squeezed_names_have_no_dots() -> None:
    assert squeezed("module.down.0.weight") == "down0weight"
