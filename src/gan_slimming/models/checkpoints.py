"""Loading of published weights, without running any code in the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gan_slimming.config import WeightsFile
from gan_slimming.errors import UserError
from gan_slimming.models.weights.candidates import Candidate, candidates, keys_of, tensors_of
from gan_slimming.models.weights.choice import of_key
from gan_slimming.models.weights.file import read_content
from gan_slimming.models.weights.matching import match
from gan_slimming.models.weights.renames import parse_renames, renamed
from gan_slimming.models.weights.stand_ins import kind_of

_SHARED_WRAPPERS = ("state_dict", "model_state_dict", "model", "params_ema", "params")
GENERATOR_WRAPPERS = (
    *("g_ema", "avg_gen_state_dict", "netG", "generator", "gen_state_dict"),
    *_SHARED_WRAPPERS,
)
"""Usual keys of a generator's weights, for read_state_dict: averages, then the most specific."""
DISCRIMINATOR_WRAPPERS = ("netD", "discriminator", "dis_state_dict", *_SHARED_WRAPPERS)
"""Likewise of a discriminator's."""


def read_state_dict(
    path: str | Path, wrappers: Sequence[str] = GENERATOR_WRAPPERS
) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file or a PyTorch checkpoint, for no network yet.

    A checkpoint is read with weights_only=True: code in it is refused, not run. Usual wrappers
    ('state_dict', 'netG', ...) and the prefixes of nn.DataParallel and torch.compile are removed;
    under other keys, the first tensors in the file are taken. Tensors keep the file's precision.

    Args:
        path: the file.
        wrappers: usual keys, the best first. A wrapper goes before tensors beside it.
    Raises:
        UserError: the file is missing, damaged, of another kind, holds code or no tensors.
    """
    path = Path(path)
    content = read_content(path)
    inner = content
    while isinstance(inner, Mapping):
        key = next((key for key in wrappers if isinstance(inner.get(key), Mapping)), None)
        if key is None:
            break
        inner = inner[key]
    return _without_prefix(tensors_of(inner) or dict(_checked(content, path)[0].state))


def read_candidates(weights: WeightsFile) -> list[Candidate]:
    """Return the state dicts that a file holds, renamed and limited to a key as the user says.

    Raises:
        UserError: as read_state_dict; the file has no such key, or nothing of a name to change.
    """
    path = Path(weights)
    found = _checked(read_content(path), path)
    if weights.key is not None:
        found = of_key(found, weights.key, path)
    if pairs := parse_renames(weights.rename):
        found = renamed(found, pairs)
    return found


def load_checked(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    expected: str | None = None,
    source: str = "the weights",
    kind: str = "generator",
) -> None:
    """Copy state into module, in place and in the module's precision, if every tensor fits.

    Names may differ as `match` allows.

    Args:
        module: the module that receives the weights.
        state: name -> tensor.
        expected: description of the module, for the error; its class by default.
        source: origin of the weights, for the error.
        kind: 'generator' or 'discriminator', for the error.

    Raises:
        UserError: a tensor is missing, unexpected, of another shape, not floating point where the
            module's is, or not finite. The module is then unchanged.
    """
    found = match(module, state)
    if not found.fits:
        raise UserError(
            f"{source} does not fit {expected or type(module).__name__}: "
            f"{'; '.join(found.misfits)}; check that the file belongs to this {kind}"
        )
    module.load_state_dict(found.state, strict=False)  # counts of batches may lack


def _checked(content: Any, path: Path) -> list[Candidate]:
    """Return the candidates of a file; raise UserError where it holds none."""
    if found := candidates(content):
        return found
    inside = content.items() if isinstance(content, Mapping) else ()
    kinds = {key: kind_of(value) for key, value in (("the file", content), *inside)}
    if objects := [f"{key}: {kind}" for key, kind in kinds.items() if kind]:
        raise UserError(
            f"weights file {path} holds code or an object ({', '.join(objects[:5])}), not only "
            "tensors; nothing in it was run; save the network's state_dict() instead"
        )
    keys = ", ".join(keys_of(content)[:5]) or "nothing"
    held = f"a dict of {keys}" if isinstance(content, Mapping) else f"a {type(content).__name__}"
    raise UserError(
        f"weights file {path} holds no state dict but {held}; save the network's "
        "state_dict(), plain or under any key"
    )


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove what DataParallel and torch.compile put before every name, once for each wrap."""
    for prefix in ("module.", "_orig_mod.") * 3:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state
