"""A folder of signals, such as mel spectrograms, as a dataset of windows of one length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from gan_slimming.errors import UserError, one_line

SUFFIXES = (".npy", ".safetensors")
"""Endings of files with one array (channels, length) of floats."""


class SignalFolder:
    """The windows of all signals below a folder, one behind the other; a rest is left out.

    Args:
        root: the folder, searched at any depth.
        channels: of each signal.
        length: of a window in frames; None takes each signal whole.
    Raises:
        UserError: it is no folder; there is no signal, or none so long; one has another shape.
    """

    def __init__(self, root: Path, channels: int, length: int | None) -> None:
        if not root.is_dir():
            what = "is a file" if root.exists() else "does not exist"
            raise UserError(f"{root} {what}; give a folder of signals (.npy or .safetensors)")
        found = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
        self.root, self.length = root, length
        self.windows: list[tuple[Path, int]] = []
        for path in found:
            frames = read_signal(path, channels).shape[1]
            count = frames // length if length else 1
            self.windows += [(path, window) for window in range(count)]
        if not self.windows:
            least = f" of at least {length} frames" if found else ""
            raise UserError(
                f"{root} holds no signal{least} (.npy or .safetensors of shape (channels, length))"
                + ("; take a smaller --size" if found else "; save some there, or take --dataset")
            )

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return a window (channels, length), float32."""
        path, window = self.windows[index]
        values = _array(path)
        if self.length:
            values = values[:, window * self.length : (window + 1) * self.length]
        return np.array(values, np.float32)

    def siblings(self, index: int) -> Sequence[int]:
        """Return the windows of the same file."""
        path = self.windows[index][0]
        return [place for place, (other, _) in enumerate(self.windows) if other == path]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the path below the folder of each window's file, without suffix."""
        paths = (path.relative_to(self.root) for path, _ in self.windows)
        return tuple(path.with_suffix("").as_posix() for path in paths)


def read_signal(path: Path, channels: int) -> np.ndarray:
    """Return a file's signal (channels, length), of .npy as a view of the file.

    Raises:
        UserError: it cannot be read, or is no signal of so many channels.
    """
    found = _array(path)
    if found.ndim != 2 or found.shape[0] != channels:
        turned = "; transpose it" if found.ndim == 2 and found.shape[1] == channels else ""
        raise UserError(
            f"{path} has the shape {found.shape}, the generator takes ({channels}, length){turned}"
        )
    return found


def _array(path: Path) -> np.ndarray:
    """Return a file's only array, of .npy as a view of the file, without a leading axis of 1."""
    try:
        if path.suffix.lower() == ".npy":
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with safe_open(path, "numpy") as file:
                keys = list(file.keys())
                if len(keys) != 1:
                    raise UserError(f"{path} holds {len(keys)} arrays; keep one in each file")
                found = file.get_tensor(keys[0])
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)})") from error
    return found[0] if found.ndim == 3 and found.shape[0] == 1 else found
