"""Files that hold no tensors that can be loaded: what they are, and the way out."""

from __future__ import annotations

import zipfile
from pathlib import Path

_SAVE = "torch.save({}, 'weights.pth')"
_HEAD = 512
"""Bytes read of a file to tell what it is."""
_RUN_AS_IT_IS = "translate, benchmark and evaluate run it as MODEL; to compress it, take the .pth"
_OTHER_TOOL = "convert it with {tool}'s own tools to PyTorch, and save the network's state_dict()"
_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "a Keras or HDF5 file", _OTHER_TOOL.format(tool="Keras")),
    (b"\x93NUMPY", "one array of NumPy", "save a dict of names and tensors with torch.save"),
    (b"GGUF", "a GGUF file", _OTHER_TOOL.format(tool="ggml")),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself with git lfs pull"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it, and give the weights file inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, and give the weights file inside"),
    (b"Rar!", "a RAR archive", "unpack it, and give the weights file inside"),
    (b"\xfd7zXZ\x00", "compressed by xz", "unpack it, and give the weights file inside"),
)
"""(first bytes, name of the kind, advice)."""
_SUFFIXES = {
    ".onnx": ("an ONNX model", f"{_RUN_AS_IT_IS} that it was exported from"),
    ".xml": ("an OpenVINO model", f"{_RUN_AS_IT_IS} that it was exported from"),
    ".pte": ("an ExecuTorch program", f"{_RUN_AS_IT_IS} that it was exported from"),
    ".pb": ("a TensorFlow graph", _OTHER_TOOL.format(tool="TensorFlow")),
    ".index": ("a TensorFlow checkpoint", _OTHER_TOOL.format(tool="TensorFlow")),
    ".meta": ("a TensorFlow checkpoint", _OTHER_TOOL.format(tool="TensorFlow")),
    ".msgpack": ("a Flax file", _OTHER_TOOL.format(tool="Flax")),
    ".pdparams": ("a PaddlePaddle file", _OTHER_TOOL.format(tool="PaddlePaddle")),
    ".mlmodel": ("a Core ML model", "take the .pth that it was converted from"),
    ".engine": ("a TensorRT engine", "take the .pth that it was built from"),
    ".trt": ("a TensorRT engine", "take the .pth that it was built from"),
    ".tar": ("a tar archive", "unpack it, and give the weights file inside"),
}
"""Suffix -> (name of the kind, advice), where the first bytes do not tell."""


def other_kind(path: Path) -> tuple[str, str] | None:
    """Return what a file is, if no tensors of PyTorch, and the way out; nothing in it is run."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for magic, kind, advice in _MAGIC:
        if head.startswith(magic):
            return kind, advice
    if head[4:8] == b"TFL3":
        return "a LiteRT model", f"{_RUN_AS_IT_IS} that it was exported from"
    if head[4:8] in (b"ET12", b"ET13"):
        return "an ExecuTorch program", "take the .pth that it was exported from"
    if b"-data-" in path.suffix.encode() or path.suffix.startswith(".data-"):
        return "part of a TensorFlow checkpoint", _OTHER_TOOL.format(tool="TensorFlow")
    if head.startswith(b"PK"):
        return _archive(path)
    torch_pickle = head.startswith(b"\x80")
    return None if torch_pickle else _SUFFIXES.get(path.suffix.lower())


def _archive(path: Path) -> tuple[str, str] | None:
    """Return what a zip archive is; None for a checkpoint of PyTorch, or a damaged archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return None
    inner = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in inner:
        way = _SAVE.format(f"torch.jit.load({path.name!r}, 'cpu').state_dict()")
        return "a TorchScript program, not only tensors", f"save its tensors: {way}"
    if "data.pkl" in inner:
        return None
    if any(name.endswith(".npy") for name in names):
        loaded = f"numpy.load({path.name!r}).items()"
        way = _SAVE.format(f"{{k: torch.from_numpy(v) for k, v in {loaded}}}")
        return "an archive of NumPy arrays (.npz)", f"if they have PyTorch's names, {way}"
    if any(name in inner for name in ("archive_format", "serialized_exported_program.json")) or (
        any(name.startswith("models/") and name.endswith(".json") for name in names)
    ):
        way = _SAVE.format(f"torch.export.load({path.name!r}).state_dict")
        return "a program of torch.export", f"save its tensors: {way}"
    if {"model.weights.h5", "config.json"} <= inner:
        return "a Keras model", _OTHER_TOOL.format(tool="Keras")
    return "a zip archive", "unpack it, and give the weights file inside"
