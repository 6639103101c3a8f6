"""The record of a generator, made of its run folder and an evaluation: no figure by hand."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gan_slimming.config import Run
from gan_slimming.data.download import file_sha256
from gan_slimming.errors import UserError, one_line
from gan_slimming.serialization.generator_file import read_header
from gan_slimming.serialization.model_record import (
    RECORD,
    ModelRecord,
    read_record,
    record_of,
)
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.serialization.shipped import FOLDER

ROW = ("metric", "value", "low", "high", "images", "direction", "unit")
"""Fields of an evaluation's row that a record keeps."""
NEEDED = {
    "results": {"model", "metric", "value", "direction"},
    "models": {"model", "size_bytes", "parameters", "macs", "size"},
}
"""What a record needs of an evaluation."""
MEASURED = ("parameters", "macs", "size", "quality", "protocol", "environment")
"""Fields of a record that an evaluation gives."""
HIGHER = ("psnr", "ssim", "ms_ssim")
"""Metrics of a run's summary of which more is better."""
SUMMARY = ("lpips", "psnr", "ssim", "dists", "flip", "colour", "dots", "l1")
"""Metrics that a run's summary may hold."""


@dataclasses.dataclass(frozen=True)
class Told:
    """What no file says of a generator."""

    name: str
    licence: str | None = None
    origin: str | None = None
    description: str | None = None
    command: str | None = None
    """The command that made it; None for that of its run folder."""


def record_of_run(
    file: Path, told: Told, evaluation: Mapping[str, Any] | None = None
) -> ModelRecord:
    """Return the record of a generator's file.

    Costs and quality are those of the evaluation; without one, those of the run's own summary. A
    record that lies beside the file already gives what `told` leaves out.

    Args:
        file: generator.safetensors, in its run folder or beside its record.
        evaluation: what `evaluate --output NAME.json` wrote on this generator.
    Raises:
        UserError: the licence is not told, or the evaluation is of another generator.
    """
    header, before = read_header(file), _before(file)
    run, summary = _run_of(RunFolder(file.parent))
    if evaluation is not None:
        measured = _of_evaluation(evaluation, file.stat().st_size)
    elif summary:
        measured = _of_summary(summary, run)
    elif before is not None:
        measured = {name: getattr(before, name) for name in (*MEASURED, "date")}
    else:
        raise UserError(
            f"{file} has no run folder, so nothing tells its quality; give --evaluation, the .json "
            "that evaluate --output wrote"
        )
    licence = told.licence or (before and before.licence)
    if not licence:
        raise UserError("say under which licence it may be used, such as --licence MIT")
    told_before = before or told
    description = told.description or told_before.description
    made = _made(header, run, summary, measured.pop("teacher", None), before)
    return _checked(
        name=told.name,
        description=description or f"{header['generator']}, made small",
        licence=licence,
        origin=told.origin or told_before.origin or "not told",
        sha256=file_sha256(file),
        size_bytes=file.stat().st_size,
        date=measured.pop("date", None) or datetime.now(UTC).date().isoformat(),
        **(made | ({"command": told.command} if told.command else {})),
        **measured,
    )


def _checked(**fields: Any) -> ModelRecord:
    """Return the record of such fields; raise UserError for one that is wrong."""
    try:
        return record_of(json.loads(json.dumps(fields)))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"this makes no record: {one_line(error)}; a licence is named as SPDX does (MIT), "
            "origin and description are one line each"
        ) from error


def _made(
    header: Mapping[str, Any],
    run: Mapping[str, Any],
    summary: Mapping[str, Any],
    teacher: str | None,
    before: ModelRecord | None,
) -> dict[str, Any]:
    """Return how the generator was made: by its run, else by its earlier record.

    Args:
        teacher: name of the teacher's file in an evaluation.
    """
    network = {
        "generator": _text(header["generator"], header["arguments"]),
        "takes": "noise" if header["contract"].get("latent_size") else "images",
    }
    if before is not None and not run:
        told = {name: getattr(before, name) for name in ("teacher", "command", "training")}
        return network | told
    weights = _name(run.get("generator", {}).get("weights")) or teacher
    sha256 = header["provenance"].get("teacher_sha256")
    return network | {
        "teacher": {"weights": weights, "sha256": sha256},
        "command": _command(run, weights),
        "training": _training(summary, header),
    }


def read_evaluation(path: Path) -> dict[str, Any]:
    """Return what `evaluate --output NAME.json` wrote; raise UserError for another file."""
    try:
        content = json.loads(path.read_text("utf-8"))
        for name, needed in NEEDED.items():
            if not all(needed <= row.keys() for row in content[name]):
                raise TypeError(f"{name} lacks {', '.join(sorted(needed))}")
        content["protocol"].items()
        return content
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is no result of evaluate ({one_line(error)}); make it with evaluate --output "
            "NAME.json"
        ) from error


def _before(file: Path) -> ModelRecord | None:
    """Return the record beside the file: of a shipped generator, or a pulled one."""
    beside = file.with_suffix(".json") if file.parent == FOLDER else file.with_name(RECORD)
    record = read_record(beside) if beside.is_file() else None
    return record if record and record.sha256 == file_sha256(file) else None


def _run_of(folder: RunFolder) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a run's config and, if it is finished, its summary; nothing where there is no run."""
    if not folder.config.is_file():
        return {}, {}
    summary = json.loads(folder.summary.read_text("utf-8")) if folder.finished else {}
    return folder.read_config()[1], summary


def _of_evaluation(evaluation: Mapping[str, Any], size_bytes: int) -> dict[str, Any]:
    """Return costs, quality and protocol of the one model of that size in an evaluation."""
    found = [row for row in evaluation["models"] if row.get("size_bytes") == size_bytes]
    if len(found) != 1:
        sizes = ", ".join(
            f"{row['model']} ({row.get('size_bytes')})" for row in evaluation["models"]
        )
        raise UserError(
            f"the evaluation is of {_without_folders(sizes)}, not of this file of {size_bytes} "
            "bytes; run evaluate on it"
        )
    model = found[0]
    mine = [row for row in evaluation["results"] if row["model"] == model["model"]]
    rows = [row for row in mine if row["value"] is not None]
    environment = evaluation.get("environment") or {}
    return {
        "parameters": model["parameters"],
        "macs": model["macs"],
        "size": model["size"],
        "quality": [{key: row.get(key) for key in ROW} for row in rows],
        "protocol": {k: _without_folders(v) for k, v in evaluation["protocol"].items()},
        "environment": dict(environment),
        "teacher": _name(str(model.get("teacher") or "").partition(":")[2]),
    }


def _of_summary(summary: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """Return costs, quality and protocol of a run's own summary."""
    noise = not run.get("data")
    quality = [
        {"metric": name, "value": summary[name],
         "direction": "higher" if name in HIGHER else "lower"}
        for name in SUMMARY if name in summary
    ]  # fmt: skip
    return {
        "parameters": summary["parameters"],
        "macs": summary["macs"],
        "size": None if noise else [summary["size"]] * 2,
        "quality": quality,
        "protocol": {k: _without_folders(v) for k, v in (summary.get("protocol") or {}).items()},
        "environment": dict(run.get("environment") or {}),
    }


def _training(summary: Mapping[str, Any], header: Mapping[str, Any]) -> dict[str, Any]:
    steps = summary.get("steps", header["provenance"].get("steps"))
    return {"steps": steps, "seconds": summary.get("seconds")}


def _command(record: Mapping[str, Any], weights: str | None) -> str:
    """Return the command that a run's record stands for, with the settings that are not default."""
    if not record:
        return ""
    words = ["gan-slimming", "compress", "--generator", record["generator"]["name"]]
    words += ["--weights", weights] if weights else []
    words += ["--data", "photos/"] if record.get("data") else []
    words += ["--targets", "targets/"] if record.get("targets") else []
    words += ["--output", "run/"]
    now, default = (_flat(dataclasses.asdict(r)) for r in (Run.from_record(record["run"]), Run()))
    for name, value in now.items():
        if value != default[name] and (value is not None or name == "bits"):
            flag = f"--{name if '.' in name else name.replace('_', '-')}"
            words += [flag] if value is True else [flag, _word(value)]
    return shlex.join(words)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings under the names of their flags: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return flat


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return json.dumps(value)
    return "none" if value is None else str(value)


def _text(name: str, arguments: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _name(path: str | None) -> str | None:
    """Return the name of a file without its folders."""
    return re.split(r"[/\\]", path)[-1] or None if path else None


def _without_folders(value: Any) -> Any:
    """Return a text with the folders of whole paths left out; anything else as it is."""
    return re.sub(r"(^|(?<=[\s:(]))/\S*/(?=\S)", "", value) if isinstance(value, str) else value
