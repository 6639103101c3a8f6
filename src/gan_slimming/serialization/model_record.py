"""The record beside a generator that is passed on: licence, origin, costs and quality, as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from gan_slimming.data.files import write_atomically
from gan_slimming.errors import UserError, one_line

RECORD = "model.json"
"""Name of the file in a folder that holds one generator."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""Pattern of a model's name."""
MOST_BYTES = 1 << 20
"""Size of a record beyond which it is not read."""
_KINDS: dict[str, type | tuple[type, ...]] = {
    "int": int, "str": str, "dict": dict, "list": list, "list | None": (list, type(None)),
    "int | None": (int, type(None)),
}  # fmt: skip
_QUALITY = {"metric": str, "value": (int, float), "direction": str}
"""Field of a row of quality -> its type; low, high, images and unit may lack."""


@dataclass(frozen=True)
class ModelRecord:
    """Everything that is told of a generator when it is shipped or pushed."""

    name: str
    """Such as cartoon-hayao: lower case, digits, '-' and '_'."""
    description: str
    """One line."""
    licence: str
    """SPDX identifier of the file's licence, such as MIT."""
    origin: str
    """Whose work the teacher is, and its licence."""
    generator: str
    """Registered name and arguments, such as cartoongan(width=64, blocks=8)."""
    takes: str
    """'images' or 'noise'."""
    teacher: dict[str, Any]
    """weights (name of their file) and sha256 (of the tensors)."""
    command: str
    """The command that trained it, without folders."""
    training: dict[str, Any]
    """steps and seconds."""
    sha256: str
    """Of the file."""
    size_bytes: int
    parameters: int | None
    macs: int | None
    """Multiply-accumulates of one image of `size`."""
    size: list | None
    """Height and width in pixels of that image; None for noise."""
    quality: list
    """Rows of metric, value, low, high, images, direction and unit, as evaluate gives them."""
    protocol: dict[str, Any]
    """How these were measured."""
    environment: dict[str, Any]
    """Versions, commit and processor of the measurement."""
    date: str
    """Day of the record, YYYY-MM-DD."""

    def as_json(self) -> str:
        """Return the record as indented JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def figures(self) -> dict[str, float]:
        """Return metric -> value."""
        return {row["metric"]: row["value"] for row in self.quality}


def read_record(path: Path) -> ModelRecord:
    """Return the record in a file, of which nothing is trusted.

    Raises:
        UserError: there is none, it is too large, or a field is missing or wrong.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES:,} bytes")
        return record_of(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f"no {error.args[0]}" if isinstance(error, KeyError) else one_line(error)
        raise UserError(f"{path} is no record of a model: {reason[:200]}; get it again") from error


def write_record(path: Path, record: ModelRecord) -> None:
    """Write a record, completely or not at all, once it is seen to be valid."""
    record_of(json.loads(record.as_json()))
    write_atomically(path, record.as_json().encode())


def record_of(content: Any) -> ModelRecord:
    """Return a record from parsed JSON; unknown fields are left out.

    Raises:
        KeyError, TypeError, ValueError: a field is missing or wrong; the text says which.
    """
    if not isinstance(content, dict):
        raise TypeError(f"it is a {type(content).__name__}")
    values = {}
    for field in fields(ModelRecord):
        value = content[field.name]
        kind = _KINDS[str(field.type).replace("dict[str, Any]", "dict")]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{field.name} is {str(value)[:40]!r}")
        if isinstance(value, str) and not value.isprintable():
            raise ValueError(f"{field.name} holds characters that cannot be printed")
        values[field.name] = value
    record = ModelRecord(**values)
    _check(record)
    return record


def _check(record: ModelRecord) -> None:
    """Check what types alone do not say; raise ValueError."""
    patterns = {
        "name": NAME,
        "licence": re.compile(r"[A-Za-z0-9.+-]{2,40}"),
        "takes": re.compile("images|noise"),
        "sha256": re.compile("[0-9a-f]{64}"),
        "date": re.compile(r"\d{4}-\d\d-\d\d"),
    }
    for field, pattern in patterns.items():
        if not pattern.fullmatch(value := getattr(record, field)):
            raise ValueError(f"{field} is {value[:80]!r}")
    counts = (record.size_bytes, record.parameters, record.macs, *(record.size or ()))
    if any(count is not None and (type(count) is not int or count < 1) for count in counts):
        raise ValueError(f"a size or a count is not a positive whole number: {counts}")
    if record.size is not None and len(record.size) != 2:
        raise ValueError(f"size is {record.size}")
    for row in record.quality:
        _check_quality(row)


def _check_quality(row: Any) -> None:
    if not isinstance(row, Mapping):
        raise TypeError(f"a row of quality is {str(row)[:40]!r}")
    for field, kind in _QUALITY.items():
        if not isinstance(row[field], kind) or isinstance(row[field], bool):
            raise TypeError(f"{field} of quality is {str(row[field])[:40]!r}")
    if not str(row["metric"]).isidentifier():
        raise ValueError(f"a metric is {str(row['metric'])[:40]!r}")
