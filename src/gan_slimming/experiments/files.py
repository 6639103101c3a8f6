"""Where the YAML files of experiments lie: beside the package, or in its checkout."""

from __future__ import annotations

from pathlib import Path

from gan_slimming.errors import UserError

PACKAGED = Path(__file__).parent / "configs"
CHECKOUT = Path(__file__).parents[3] / "configs" / "experiments"


def folder_of(kind: str) -> Path:
    """Return the folder of 'methods' or 'systems'."""
    return (PACKAGED if PACKAGED.is_dir() else CHECKOUT) / kind


def names_of(kind: str) -> list[str]:
    """Return the names of the files of a kind, in alphabetical order."""
    return sorted(path.stem for path in folder_of(kind).glob("*.yaml"))


def file_of(kind: str, name: str) -> Path:
    """Return the file of a name, or the YAML file that the name is.

    Raises:
        UserError: there is none.
    """
    given = Path(name)
    if given.suffix in (".yaml", ".yml") and given.is_file():
        return given
    if name in names_of(kind):
        return folder_of(kind) / f"{name}.yaml"
    known = ", ".join(names_of(kind))
    raise UserError(f"{kind} are {known}, or a YAML file of your own; got {name}")


def summary_of(path: Path) -> str:
    """Return the first comment of a file, which says what it describes."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip().removesuffix(".") if first.startswith("#") else ""
