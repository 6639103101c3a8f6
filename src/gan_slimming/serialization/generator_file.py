"""The small file of a finished generator: generator.safetensors.

`packing` describes its tensors. The header's one metadata entry, `gan_slimming`, is JSON. It holds
the generator's name and arguments, the quantised layers, the order of the packed vectors, the
channel map and the provenance. A file is data, never code: it cannot make the reader import
anything.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.files import write_atomically
from gan_slimming.errors import UserError, one_line
from gan_slimming.models.registry import GeneratorSpec, rebuild_generator
from gan_slimming.pruning.channel_attributes import noted_numbers
from gan_slimming.pruning.padded_norms import padded_norms
from gan_slimming.serialization.header import bitmask, channels_of, check_header
from gan_slimming.serialization.narrow_codes import narrow_codes, weight_bits
from gan_slimming.serialization.packing import fill, pack, quantizers_by_layer, unpack_vectors

FORMAT = 2
"""Version of the file's layout; a reader refuses a newer one."""
WHOLE_BYTES = 1
"""Version of a file without narrow codes, which every reader knows."""
KEY = "gan_slimming"
MOST_BYTES = 1 << 32
"""Size of a dense generator beyond which a header is taken for damaged."""
_MISFIT = (
    AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError, MemoryError,
    OverflowError, UserError,
)  # fmt: skip
"""Errors raised by a header and tensors that do not belong together."""


def save_generator(
    module: nn.Module,
    path: str | Path,
    spec: GeneratorSpec,
    *,
    identities: Sequence[str] = (),
    channel_map: Mapping[str, list[int]] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> int:
    """Write the result of `student.extract`; an old file stays until the new one is complete.

    Args:
        module: quantised or not, without gates.
        path: the file; its folder is created if missing.
        spec: spec of the teacher, from which the loader builds the layers to be narrowed.
        identities: modules that have become nn.Identity; those in `module` are found anyway.
        channel_map: channel group -> the channels kept, ascending. They are counted in the network
            that the student started from: the teacher, or an earlier student.
        provenance: small, JSON: versions, hash of the teacher, budget, seed, date.
    Returns:
        Size of the file in bytes.
    Raises:
        UserError: a gate is left, values are not finite or not JSON, or the disk refuses.
    """
    tensors, rows, quantizers = pack(module)
    found = [n for n, m in module.named_modules(remove_duplicate=False) if type(m) is nn.Identity]
    header = {
        "format": WHOLE_BYTES,
        "generator": spec.name,
        "arguments": spec.arguments,
        "contract": dataclasses.asdict(spec.contract),
        "identities": sorted({*identities, *found} - {""}),
        "numbers": noted_numbers(module),
        "padded_norms": padded_norms(module),
        "quantizers": [way.row() for way in quantizers],
        "vectors": rows,
        "channel_map": {name: bitmask(kept) for name, kept in (channel_map or {}).items()},
        "provenance": dict(provenance or {}),
    }
    tensors, narrow = narrow_codes(tensors, weight_bits(quantizers_by_layer(header)))
    if narrow:
        header |= {"format": FORMAT, "narrow": narrow}
    try:
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"arguments and provenance of a generator must be JSON ({one_line(error)}); "
            "use numbers, texts, lists and dicts only"
        ) from error
    content = save(tensors, metadata={KEY: text})
    _write(Path(path), content)
    return len(content)


def load_generator_file(
    path: str | Path, device: str | torch.device = "cpu", *, factory: str | None = None
) -> nn.Module:
    """Load a generator saved by `save_generator`, in eval mode and float32, with a `.spec`.

    It computes the same as the saved module: a quantised weight is its code times its scale. Layers
    that are not quantised are plain torch.nn layers.

    Args:
        path: generator.safetensors.
        device: target device.
        factory: 'package.module:factory', for a generator that is not one of the package's. It must
            be the name in the file: the user says what is imported, never the file.
    Raises:
        UserError: no such file, another kind of file, a newer format, damage, or a factory that is
            missing, differs or builds something else.
    """
    header, tensors = _read(Path(path))
    try:
        contract = InputContract.from_record(header["contract"])
        spec = GeneratorSpec(header["generator"], header["arguments"], contract)
        foreign = ":" in spec.name
    except _MISFIT as error:
        raise _damaged(path, error) from error
    _check_factory(path, spec.name, foreign, factory)
    module = _build(path, spec, foreign)
    try:
        fill(module, header, tensors)
    except _MISFIT as error:
        raise UserError(
            f"{path} does not fit {spec}: {_reason(error)}; it is damaged, or the generator has "
            "changed since it was saved"
        ) from error
    module.to(device).eval()
    return module


def read_header(path: str | Path) -> dict[str, Any]:
    """Return the information in a file's header, without building anything.

    Returns:
        format, generator, arguments, contract, identities, quantized (layer -> weight_bits,
        input_bits, signed, learnt, output_bits), channel_map (group -> channels), provenance,
        tensors (name -> shape, packed vectors included) and size_bytes.
    Raises:
        UserError: as load_generator_file, as far as the header shows it.
    """
    header, tensors = _read(Path(path))
    plain = ("format", "generator", "arguments", "contract", "identities", "provenance")
    try:
        whole = unpack_vectors(header, tensors)
        return {
            **{name: header[name] for name in plain},
            "quantized": {n: q._asdict() for n, q in quantizers_by_layer(header).items()},
            "channel_map": {
                name: channels_of(mask) for name, mask in header["channel_map"].items()
            },
            "tensors": {name: list(tensor.shape) for name, tensor in whole.items()},
            "size_bytes": Path(path).stat().st_size,
        }
    except _MISFIT as error:
        raise _damaged(path, error) from error


def _check_factory(path: str | Path, name: str, foreign: bool, factory: str | None) -> None:
    if factory == name or (factory is None and not foreign):
        return
    given = "and none was given" if factory is None else f"got {factory}"
    advice = (
        f"if you trust that code, give --generator {name} (in Python factory={name!r})"
        if foreign
        else "leave --generator out"
    )
    raise UserError(f"{path} holds a generator by {name}, {given}; {advice}")


def _build(path: str | Path, spec: GeneratorSpec, foreign: bool) -> nn.Module:
    """Build the architecture; for the package's own, allocate and draw nothing."""
    if foreign:  # a user's code may compute while it builds, which the meta device cannot
        return _rebuilt(path, spec).float()
    with torch.device("meta"):
        module = _rebuilt(path, spec)
    computed = any(m._non_persistent_buffers_set for m in module.modules())
    size = sum(x.numel() * x.element_size() for x in (*module.parameters(), *module.buffers()))
    if computed and size > MOST_BYTES:
        raise _damaged(path, ValueError(f"{spec} has {size:,} bytes"))
    return _rebuilt(path, spec).float() if computed else module


def _rebuilt(path: str | Path, spec: GeneratorSpec) -> nn.Module:
    """Build the architecture; errors name the file."""
    try:
        return rebuild_generator(spec)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return header and tensors of a file of known format, or raise a UserError with the reason."""
    if not path.is_file():
        kind = "is no regular file" if path.exists() else "does not exist"
        kind = "is a folder" if path.is_dir() else kind
        raise UserError(f"{path} {kind}; give the path of a generator.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            # Clones, so that no tensor depends on the open file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is not a whole safetensors file ({one_line(error)}); copy or save it again"
        ) from error
    if text is None:
        raise UserError(
            f"{path} is a safetensors file, but no generator saved by gan-slimming; "
            f"for published weights write NAME:{path}, such as cartoongan:{path}"
        )
    try:
        header = json.loads(text)
        newer = int(header["format"]) > FORMAT
        if not newer:
            check_header(header, tensors)
    except (*_MISFIT, RecursionError) as error:
        raise _damaged(path, error) from error
    if newer:
        raise UserError(
            f"{path} has format {header['format']}, this version of gan-slimming reads up to "
            f"{FORMAT}; upgrade gan-slimming"
        )
    return header, tensors


def _write(path: Path, content: bytes) -> None:
    """Write the whole file or none of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({one_line(error)}); check the folder and the free space"
        ) from error


def _damaged(path: str | Path, error: Exception) -> UserError:
    return UserError(
        f"{path} is damaged: its header makes no sense ({_reason(error)}); copy or save it again"
    )


def _reason(error: Exception) -> str:
    text = f"no {error.args[0]}" if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split())
