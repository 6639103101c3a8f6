"""The kinds of files that are fuzzed: real ones to damage, and the functions that read them.

A reader returns where a file was read; for one that it refuses it raises UserError. Anything else
that it raises is a failure.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image
from tests.faults import mutations, real_files

import gan_slimming as gs
from gan_slimming.cli import main
from gan_slimming.errors import UserError
from gan_slimming.serialization.checkpoint_file import digest_of, read_checkpoint
from gan_slimming.serialization.generator_file import (
    load_generator_file,
    read_header,
)

Damage = Callable[[bytes, bytes, Random], bytes]


class Accepted(Exception):
    """A damaged file that carries a digest, read as if it were whole."""


class Bug(Exception):
    """A command that ended with a traceback, or told a mistake in more than one line."""


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    make: Callable[[Path], None]
    """Fill a folder with real files or folders of the kind."""
    read: Callable[[Path, Random], None]
    """Hand a damaged file to what users call."""
    damages: Sequence[Damage] = (mutations.damaged,)
    """Ways to damage a file, one drawn each time."""


def command(*words: str | Path) -> None:
    """Run a command in this process.

    Raises:
        UserError: it was refused in one line.
        Bug: it was not.
    """
    told, result = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(result):
        status = main([str(word) for word in words])
    lines = [line for line in told.getvalue().splitlines() if line.startswith("error: ")]
    if status == 0:
        return
    text = lines[-1] if lines else told.getvalue()[-500:]
    if status != 2 or len(lines) != 1 or "Traceback" in told.getvalue():
        raise Bug(f"{words[0]} ended with {status}: {text}")
    raise UserError(text)


# -- images ----------------------------------------------------------------------------------------


def read_images(file: Path, chance: Random) -> None:
    """Read one, or translate it; and as one of a folder of training images."""
    from gan_slimming.data.image_files import decode_image, read_image

    if chance.random() < 0.03:
        model, made = real_files.tiny_model(file.parents[1]), file.parent / "made"
        command("translate", model, file, "--output", made, "--overwrite")
    elif chance.random() < 0.5:
        decode_image(file, file.read_bytes())
    else:
        read_image(file)


# -- generators ------------------------------------------------------------------------------------


def read_generators(file: Path, chance: Random) -> None:
    """Load one and read its header; sometimes inspect it, or let it draw."""
    way = chance.random()
    if way < 0.04:
        command("inspect", file, "--size", "32")
    elif way < 0.08:
        photo = file.parents[1] / "photo.png"
        if not photo.is_file():
            Image.new("RGB", (32, 32)).save(photo)
        command("translate", file, photo, "--output", file.parent / "made", "--overwrite")
    elif way < 0.11:
        grid = file.parent / "grid.png"
        command("sample", file, "--count", "2", "--output", grid, "--overwrite")
    else:
        read_header(file)
        load_generator_file(file)


# -- weights and checkpoints -----------------------------------------------------------------------


def read_weights(file: Path, chance: Random) -> None:
    """Load a generator with these weights, or inspect it."""
    if chance.random() < 0.04:
        words = ("--generator-args", '{"width": 2, "blocks": 1}', "--size", "32")
        command("inspect", f"cartoongan:{file}", *words)
    else:
        gs.load_generator("cartoongan", file, width=2, blocks=1)


def read_checkpoints(file: Path, chance: Random) -> None:
    """Read one; its content must be what was saved.

    Raises:
        Accepted: it is not.
    """
    state = read_checkpoint(file, None, sealed=True)
    whole = [read_checkpoint(path, None, sealed=True) for path in reals(file)]
    if digest_of(state) not in map(digest_of, whole):
        raise Accepted("a checkpoint of another content passes for whole")


def reals(file: Path) -> list[Path]:
    """Return the files that damaged ones are made from."""
    return sorted((file.parents[1] / "real").iterdir())


# -- settings and run folders ----------------------------------------------------------------------


def read_settings(file: Path, chance: Random) -> None:
    """Read one as the settings of a run, and as those for a command."""
    from gan_slimming.serialization.run_folder import RunFolder

    if file.name.startswith("run"):
        folder = file.parent / "run-of-settings"
        folder.mkdir(exist_ok=True)
        shutil.copy(file, folder / "config.yaml")
        RunFolder(folder).read_config()
        return
    # No such weights: what is right ends there.
    command("compress", "--config", file, "--weights", "no.pth", "--data", file.parent / "none",
            "--output", file.parent / "unmade")  # fmt: skip


def damage_run(source: Path, target: Path, chance: Random) -> None:
    """Copy a run folder and damage one of its files, sometimes two."""
    shutil.copytree(source, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    for _ in range(chance.choice((1, 1, 1, 2))):
        file = chance.choice(files)
        content = file.read_bytes()
        way: Damage = mutations.damaged
        if chance.random() < 0.6:
            way = _STRUCTURED.get(file.suffix, way)
        file.write_bytes(way(content, chance.choice(files).read_bytes(), chance))


_STRUCTURED: dict[str, Damage] = {
    ".yaml": mutations.of_yaml, ".jsonl": mutations.of_json_lines,
    ".json": mutations.of_json_lines, ".safetensors": mutations.of_safetensors,
}  # fmt: skip


def read_runs(folder: Path, chance: Random) -> None:
    """Report on one, or inspect it."""
    if chance.random() < 0.05:
        command("inspect", folder, "--size", "32")
    else:
        command("report", folder, "--output", folder / "page.html", "--overwrite")


# -- exported files --------------------------------------------------------------------------------


def damage_ir(source: Path, target: Path, chance: Random) -> None:
    """Copy both files of an export and damage one."""
    shutil.copytree(source, target)
    file = target / chance.choice(("g.xml", "g.xml", "g.bin"))
    way: Damage = chance.choice((mutations.damaged, mutations._retold))
    content = file.read_bytes()
    file.write_bytes(way(content, content, chance))


def read_exported(path: Path, chance: Random) -> None:
    """Open one, and run it on an image."""
    from gan_slimming.runtime.sessions import open_runtime

    file = path / "g.xml" if path.is_dir() else path
    if chance.random() < 0.05:
        photo = path.parents[1] / "photo.png"
        if not photo.is_file():
            Image.new("RGB", (32, 32)).save(photo)
        command("translate", file, photo, "--output", path.parent / "made", "--overwrite",
                "--threads", "1")  # fmt: skip
        return
    open_runtime(file, threads=1)


KINDS = {
    "images": Kind(real_files.make_images, read_images),
    "generators": Kind(
        real_files.make_generators, read_generators, (mutations.damaged, mutations.of_safetensors)
    ),
    "checkpoints": Kind(
        real_files.make_checkpoints, read_checkpoints, (mutations.damaged, mutations.of_archive)
    ),
    "weights": Kind(
        real_files.make_weights, read_weights, (mutations.damaged, mutations.of_archive)
    ),
    "settings": Kind(
        real_files.make_settings, read_settings, (mutations.damaged, mutations.of_yaml)
    ),
    "runs": Kind(real_files.make_runs, read_runs),
    "onnx": Kind(real_files.make_onnx, read_exported, (mutations.damaged, mutations.of_onnx)),
    "openvino": Kind(real_files.make_ir, read_exported),
}
"""Name -> kind."""


def damage(kind: str, number: int, place: Path) -> Path:
    """Write the damaged file of a number, the same each time; return its path.

    Args:
        place: holds real/, with the real files, and damaged/.
    """
    chance = Random(f"{kind} {number}")
    real = sorted((place / "real").iterdir())
    source = chance.choice(real)
    target = place / "damaged" / source.name
    _clear(target)
    if source.is_dir():
        (damage_run if kind == "runs" else damage_ir)(source, target, chance)
        return target
    other = chance.choice(real)
    way = chance.choice(KINDS[kind].damages)
    if source.suffix != ".safetensors" and way is mutations.of_safetensors:
        way = mutations.damaged
    target.write_bytes(way(source.read_bytes(), other.read_bytes(), chance))
    return target


def read(kind: str, number: int, path: Path) -> str:
    """Hand a damaged file to its readers.

    Returns:
        'read', or 'refused' for a UserError in one line.
    Raises:
        Exception: a failure of the package.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            KINDS[kind].read(path, Random(f"read {kind} {number}"))
        except UserError as error:
            text = str(error)
            if "\n" in text or not text or len(text) > 2000:
                raise Bug(f"not one line: {text[:300]!r}") from error
            return "refused"
    return "read"


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def result_of(error: Any) -> str:
    """Return by what failures are told apart: the type, and the innermost line of the package."""
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if "gan_slimming" in code.co_filename:
            place = f"{Path(code.co_filename).name}:{code.co_name}:{trace.tb_lineno}"
        trace = trace.tb_next
    text = " ".join(str(error).split())[:160]
    return f"{type(error).__name__} at {place}: {text}"
