"""Reading of weights files, without running any code in them."""

from __future__ import annotations

import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from gan_slimming.data.torch_files import FileDamage, load_tensors
from gan_slimming.errors import UserError, one_line
from gan_slimming.models.weights.file_kinds import other_kind
from gan_slimming.models.weights.stand_ins import CodeFoundError, stand_in_for

WEIGHTS_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".safetensors")
_OBJECTS = 64
"""Most classes of objects beside the tensors that get a stand-in."""


def read_content(path: Path) -> Any:
    """Return what a .safetensors file or a PyTorch checkpoint holds; the content tells which.

    Raises:
        UserError: the file is missing, damaged, of another kind, or holds code.
    """
    if not path.is_file():
        raise UserError(f"weights file {path} {_absent(path)}")
    try:
        if _is_safetensors(path):
            return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"weights file {path} is not a whole safetensors file ({one_line(error)}); "
            "nothing in it was run; download or save it again"
        ) from error
    return _load_torch(path)


def _absent(path: Path) -> str:
    if not path.is_dir():
        if path.exists():
            return "is no regular file; give the path of a .pth or .safetensors file"
        return "does not exist; give the path of a .pth or .safetensors file"
    held = sorted(child.name for child in path.iterdir() if child.suffix in WEIGHTS_SUFFIXES)
    way = f"one of its files: {', '.join(held[:5])}" if held else "a .pth or .safetensors file"
    return f"is a folder; give the path of {way}"


def _is_safetensors(path: Path) -> bool:
    """Return whether a file has the form of .safetensors; an empty or strange one, its suffix."""
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith((b"PK", b"\x80")):
        return False
    return path.suffix == ".safetensors" or (head[8:] == b"{" and head[5:8] == b"\0\0\0")


def _load_torch(path: Path) -> Any:
    """Return the content of a PyTorch checkpoint, or raise a UserError that says what it is."""
    stands: dict[str, Any] = {}
    try:
        if other := other_kind(path):
            reason, advice = f"is {other[0]}", other[1]
        else:
            return _load_with(path, stands)
    except FileDamage as error:
        reason, advice = f"is damaged: {error}", "download or save it again"
    except CodeFoundError as error:
        reason, advice = _code(str(error))
    except UnpicklingError as error:
        if found := re.search(r"GLOBAL (\S+)|persistent_load|call reduce", str(error)):
            reason, advice = _code(found[1] or "a whole module, or a call")
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


def _code(name: str) -> tuple[str, str]:
    return (
        f"holds code or an object ({name}), not only tensors",
        "save the network's state_dict() instead",
    )


def _load_with(path: Path, stands: dict[str, Any]) -> Any:
    """Return the content, with stand-ins for objects; each is made when torch refuses its class."""
    serialization: Any = torch.serialization
    kept = serialization.get_safe_globals()
    for _ in range(_OBJECTS):
        serialization.add_safe_globals(list(stands.values()))
        try:
            return load_tensors(path)
        except UnpicklingError as error:
            found = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
            name = _whole_name(found[1]) if found else ""
            if not name or name in stands:
                raise
            stands[name] = stand_in_for(name)
        finally:
            serialization.clear_safe_globals()
            serialization.add_safe_globals(kept)
    raise CodeFoundError(f"{', '.join(list(stands)[:3])} and more")


def _whole_name(name: str) -> str:
    """Return a global's name with its module, which torch leaves out for built-in ones."""
    return name if "." in name else f"builtins.{name}"
