"""Names of tensors and of what holds them: the words of scripts, and the prefixes of wrappers."""

from __future__ import annotations

import re

_WRAPPERS = {
    *("module", "_module", "_orig_mod", "_forward_module", "_fpw_module"),
    *("_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
}
"""What DataParallel, torch.compile, FSDP and others put before or among the names of a network."""
_AVERAGED = {
    *("ema", "avg", "average", "averaged", "averages", "swa", "shadow", "smooth", "smoothed"),
    *("polyak", "moving", "running", "gs"),
}
_RAW = {"online", "raw", "source", "live", "original"}
"""Words for the weights in training that an average keeps beside itself."""
_GENERATOR = {"g", "gs", "gen", "gens", "generator", "generators", "netg", "gnet"}
_DISCRIMINATOR = {
    *("d", "ds", "dis", "disc", "discs", "discrim", "discriminator", "discriminators", "netd"),
    *("dnet", "critic"),
}
_NEW_NAMES = (
    (re.compile(r"\.?parametrizations\.(\w+)\.original0$"), r".\1_g"),
    (re.compile(r"\.?parametrizations\.(\w+)\.original1$"), r".\1_v"),
    (re.compile(r"\.?parametrizations\.(\w+)\.original$"), r".\1_orig"),
    (re.compile(r"\.?parametrizations\.(\w+)\.0\._([uv])$"), r".\1_\2"),
)
"""Today's names of the tensors of weight_norm and spectral_norm, and the older ones."""


def words(key: str) -> set[str]:
    """Return the words of a key in lower case: net, g, a, b of 'netG_A2B'."""
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).lower()))


def is_averaged(key: str) -> bool:
    """Return whether a key says that weights are averaged over training: ema, avg, Gs, ..."""
    return bool(words(key) & _AVERAGED) and not words(key) & _RAW


def names_role(key: str, role: str) -> bool:
    """Return whether a key names this role, 'generator' or 'discriminator', and not the other."""
    generator, discriminator = words(key) & _GENERATOR, words(key) & _DISCRIMINATOR
    if role == "generator":
        return bool(generator)
    return bool(discriminator) and not generator


def canonical(name: str) -> str:
    """Return a tensor's name without wrappers, and with the older names of weight norms."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    bare = ".".join(parts) or name
    for pattern, older in _NEW_NAMES:
        bare = pattern.sub(older, bare)
    return bare.removeprefix(".")


def squeezed(name: str) -> str:
    """Return the canonical name without dots, as some averages of weights store it."""
    return canonical(name).replace(".", "")
