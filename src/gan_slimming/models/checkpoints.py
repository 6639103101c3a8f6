"""Loading of published weights, without running any code in the files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from gan_slimming.errors import UserError, one_line
from gan_slimming.torch_files import FileDamage, load_tensors

_SHARED_WRAPPERS = ("state_dict", "model_state_dict", "model", "params_ema", "params")
GENERATOR_WRAPPERS = (
    *("netG", "generator", "g_ema", "avg_gen_state_dict", "gen_state_dict"),
    *_SHARED_WRAPPERS,
)
"""Keys under which training scripts store the generator's weights; the most specific one first."""
DISCRIMINATOR_WRAPPERS = ("netD", "discriminator", "dis_state_dict", *_SHARED_WRAPPERS)
"""Likewise for the discriminator's."""
_RUNNING = ("running_mean", "running_var", "num_batches_tracked")
_NAMED = 3
"""Number of tensors named for each kind of misfit."""


def read_state_dict(
    path: str | Path, wrappers: tuple[str, ...] = GENERATOR_WRAPPERS
) -> dict[str, torch.Tensor]:
    """Return the tensors of a .safetensors file, or else of a PyTorch checkpoint.

    A checkpoint, of any other suffix, is read with weights_only=True: code in it is refused, not
    run. The usual wrappers ('state_dict', 'netG', ...) and the prefix 'module.' of nn.DataParallel
    are removed. Tensors keep the precision of the file.

    Raises:
        UserError: the file is missing, damaged, of another kind, holds code or no tensors.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        kind = "is no regular file" if path.exists() and not path.is_dir() else kind
        raise UserError(f"weights file {path} {kind}; give the path of a .pth or .safetensors file")
    if path.suffix == ".safetensors":
        try:
            content: Any = load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"weights file {path} is not a whole safetensors file ({one_line(error)}); "
                "nothing in it was run; download or save it again"
            ) from error
    else:
        content = _load_torch(path)
    return _strip_prefix(_unwrap(content, path, wrappers))


def load_checked(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    expected: str | None = None,
    source: str = "the weights",
    kind: str = "generator",
) -> None:
    """Copy state into module, in place and in the module's precision, if every tensor fits.

    Old versions of InstanceNorm2d saved running statistics without using them. These are dropped
    where the module has none. Old versions of BatchNorm2d did not count batches; the module then
    keeps its own count.

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
    unused = {
        f"{name}.{field}"
        for name, child in module.named_modules()
        if isinstance(child, nn.InstanceNorm2d) and not child.track_running_stats
        for field in _RUNNING
    }
    state = {name: tensor for name, tensor in state.items() if name not in unused}
    wanted = module.state_dict()
    counts = {name: tensor for name, tensor in wanted.items() if name.endswith(_RUNNING[-1])}
    state = counts | state
    if misfits := _misfits(wanted, state):
        raise UserError(
            f"{source} does not fit {expected or type(module).__name__}: {'; '.join(misfits)}; "
            f"check that the file belongs to this {kind}"
        )
    module.load_state_dict(state)


def _load_torch(path: Path) -> Any:
    """Return the content of a PyTorch checkpoint, or raise a UserError that says what it is."""
    try:
        return load_tensors(path)
    except FileDamage as error:
        reason, advice = f"is damaged: {error}", "download or save it again"
    except UnpicklingError as error:
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            reason = f"holds code or an object ({found[1]}), not only tensors"
            advice = "save the network's state_dict() instead"
        else:
            reason = "is not a PyTorch checkpoint"
            advice = "check that the download gave the file and not a web page"
    except PermissionError as error:
        raise UserError(f"weights file {path} may not be read: {one_line(error)}") from error
    except Exception as error:
        # torch.load documents no exceptions: damage shows as RuntimeError, EOFError, OSError, ...
        if "TorchScript" in str(error):
            reason = "is a TorchScript program, not only tensors"
            advice = "save the network's state_dict() instead"
        else:
            reason = "is cut short or damaged"
            advice = "download or save it again"
    raise UserError(f"weights file {path} {reason}; nothing in it was run; {advice}")


def _unwrap(content: Any, path: Path, wrappers: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Return the innermost name-to-tensor mapping of a checkpoint, without other entries.

    A wrapper goes before tensors beside it, such as the noise for a training script's samples.
    """
    while isinstance(content, Mapping):
        wrapper = next((key for key in wrappers if isinstance(content.get(key), Mapping)), None)
        if wrapper is not None:
            content = content[wrapper]
            continue
        tensors = {
            str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)
        }
        if tensors:
            return tensors
        keys = ", ".join(map(str, list(content)[:5])) or "nothing"
        found = f"a dict of {keys}"
        break
    else:
        found = f"a {type(content).__name__}"
    raise UserError(
        f"weights file {path} holds no state dict but {found}; "
        f"save the network's state_dict(), plain or under one of {', '.join(wrappers)}"
    )


def _strip_prefix(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Remove the 'module.' that nn.DataParallel puts before every name, once for each wrap."""
    while all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def _misfits(wanted: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> list[str]:
    """Return one phrase for each kind of misfit between given and wanted tensors."""
    wrong = {
        "missing": [name for name in wanted if name not in given],
        "unexpected": [name for name in given if name not in wanted],
        "misshapen": [],
        "not floating point": [],
        "not finite": [],
    }
    for name in wanted.keys() & given.keys():
        tensor, shape = given[name], tuple(wanted[name].shape)
        if tuple(tensor.shape) != shape:
            text = f"{name} is {_shape(tensor.shape)}, expected {_shape(shape)}"
            wrong["misshapen"].append(text)
        elif wanted[name].is_floating_point() and not tensor.is_floating_point():
            wrong["not floating point"].append(f"{name} ({tensor.dtype})")
        elif not tensor.isfinite().all():
            wrong["not finite"].append(name)
    phrases = []
    for kind, names in wrong.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        if names:
            phrases.append(f"{kind} {', '.join(sorted(names)[:_NAMED])}{more}")
    return phrases


def _shape(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(map(str, shape)) or "a scalar"
