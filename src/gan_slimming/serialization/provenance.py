"""The provenance of a result: versions, hardware, commit, and the hash of a network's weights."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

PACKAGE = Path(__file__).parents[1]
VERSIONS = ("gan-slimming", "torch", "lightning-fabric", "safetensors")
"""Packages whose versions affect the results of a run."""


def environment() -> dict[str, Any]:
    """Return versions, commit, code, processor, threads and gpu.

    `commit` is None outside this package's checkout; there only `code`, the SHA-256 of the source,
    says which version it is.
    """
    return {
        "versions": {name: version(name) for name in VERSIONS}
        | {"python": platform.python_version()},
        "commit": commit_of(PACKAGE),
        "code": code_of(PACKAGE),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def commit_of(package: Path) -> str | None:
    """Return the commit of the checkout whose src folder holds `package`.

    An installed package may lie inside an unrelated repository, whose commit says nothing.
    """
    root = _git(package, "--show-toplevel")
    if root is None or Path(root).resolve() / "src" / package.name != package.resolve():
        return None
    return _git(package, "HEAD")


def code_of(package: Path) -> str:
    """Return the SHA-256 of a package's Python files, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def fingerprint(module: nn.Module) -> str:
    """Return the SHA-256 of a module's tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, torch.Tensor):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _git(folder: Path, what: str) -> str | None:
    try:
        found = subprocess.run(
            # Git refuses the checkout of another user, but this one's code is running already.
            ["git", "-c", "safe.directory=*", "-C", str(folder), "rev-parse", what],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git on this machine
        return None
    return found.stdout.strip() or None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
