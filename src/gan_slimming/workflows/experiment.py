"""experiment: a table of methods on one system, row by row."""

from __future__ import annotations

import dataclasses
import shlex
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_slimming.config import WeightsFile
from gan_slimming.data.files import write_atomically
from gan_slimming.data.image_list import list_set
from gan_slimming.errors import Interrupted, UserError, one_line
from gan_slimming.experiments.folder import TableFolder, check_unseen
from gan_slimming.experiments.methods import Method, load_method, method_names
from gan_slimming.experiments.page import write_table_page
from gan_slimming.experiments.records import as_markdown, read_records, write_record
from gan_slimming.experiments.systems import System, found, load_system
from gan_slimming.experiments.table import Table
from gan_slimming.models import build_generator, load_generator
from gan_slimming.models.registry import spec_of
from gan_slimming.serialization.checkpoint_file import digest_of
from gan_slimming.serialization.provenance import fingerprint
from gan_slimming.training.setup import TestTimeWarning
from gan_slimming.workflows.compress import OnStep
from gan_slimming.workflows.experiment_row import run_row

FREE = ("rows", "summary", "latency")
"""Entries of a system that may change between the rows of one table."""
OnRow = Callable[[int, int, str], None]
"""Called before each row that is run with its number from 1, the number of rows, and what it is."""


def experiment(
    name: str,
    output: Path,
    *,
    scale: str = "cpu",
    rows: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    on_step: OnStep | None = None,
    on_row: OnRow | None = None,
) -> dict[str, Any]:
    """Run the rows of a table that are not finished; write records, table and page.

    Args:
        name: a system of `experiments.systems`, or its YAML file.
        output: the table's folder; one that exists goes on.
        scale: smoke, cpu or full.
        rows: methods to run, or their YAML files; () for those of the system.
        changes: entries of the system that the user overrules, such as weights, data or minutes.
        on_step: called after every training step.
        on_row: called before each row.
    Returns:
        experiment, scale, rows (row, macs, parameters, size_bytes, steps, seconds and each metric),
        table, report, records and seconds.
    Raises:
        UserError: a mistake of the user's, or rows that failed, each with its reason; all others
            are finished by then.
        Interrupted: Ctrl-C; the same command goes on.
    """
    began = time.monotonic()
    system = load_system(name, scale, changes or {})
    methods = [load_method(row) for row in rows or system.rows or method_names()]
    table = _open(
        system, TableFolder(output), _command(name, scale, output, rows, changes or {}), on_step
    )
    failed: dict[str, str] = {}
    for number, method in enumerate(methods, 1):
        if not table.folder.record(method.name).is_file():
            if on_row is not None:
                on_row(number, len(methods), f"{method.name} ({method.summary})")
            _run(table, method, failed)
        _write_table(table, failed)
    if failed:
        reasons = "; ".join(f"{row}: {reason}" for row, reason in failed.items())
        raise UserError(
            f"{len(failed)} of {len(methods)} rows failed ({reasons}); the others are in "
            f"{table.folder.table}, and the same command tries again"
        )
    records = read_records(table.folder.records, [method.name for method in methods])
    return {
        "experiment": system.name,
        "scale": scale,
        "rows": [_told(record) for record in records],
        "table": str(table.folder.table),
        "report": str(table.folder.page),
        "records": str(table.folder.records),
        "seconds": round(time.monotonic() - began, 1),
    }


def _run(table: Table, method: Method, failed: dict[str, str]) -> None:
    """Run a row and write its record; note why it failed."""
    try:
        with warnings.catch_warnings():
            if table.system.scale == "smoke":  # a random teacher has no statistics to miss
                warnings.simplefilter("ignore", TestTimeWarning)
            record = run_row(table, method)
        write_record(table.folder.record(method.name), record)
    except Interrupted as error:
        raise Interrupted(f"stopped in row {method.name}; go on with {table.command}") from error
    except UserError as error:
        failed[method.name] = one_line(error)
    except Exception as error:  # a fault of one row must not cost the others
        failed[method.name] = f"{type(error).__name__}: {one_line(error)[:300]}"


def _open(system: System, folder: TableFolder, command: str, on_step: OnStep | None) -> Table:
    """Find the teacher and the images, and open the table's folder."""
    teacher, file = _teacher(system)
    data, test, targets, test_targets, partner = (
        None if path is None else found(path, what)
        for path, what in (
            (system.data, "the images to train on, --data"),
            (system.test, "the images to judge on, --test"),
            (system.targets, "real images for the discriminator"),
            (system.test_targets, "real images to compare with"),
            (system.partner, "the opposite direction"),
        )
    )
    system = dataclasses.replace(system, discriminator=_found_weights(system))
    noise = spec_of(teacher).contract.latent_size > 0
    if not noise and system.scale != "smoke" and (data is None or test is None):
        raise UserError("name the images to train on with --data, and others to judge on, --test")
    if data is not None and test is not None:
        check_unseen(data, test)
    images = [*list_set("data", data), *list_set("test", test), *list_set("targets", targets)]
    said = dataclasses.asdict(system)
    entries = {key: value for key, value in said.items() if key not in FREE}
    identity = {"teacher_sha256": fingerprint(teacher), "images": digest_of(images)}
    folder.open(entries | identity)
    if not noise and (data is None or test is None):
        data, test = folder.smoke_images(system.seed)
    return Table(
        system, folder, teacher, file, data, test, targets, test_targets, partner, command, on_step
    )


def _teacher(system: System) -> tuple[nn.Module, WeightsFile]:
    """Return the teacher, with the weights of its file or, for smoke, random ones."""
    if system.weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(system.seed)
            generator = build_generator(system.generator, **system.arguments)
        return generator.float().eval(), WeightsFile(None)
    path = found(system.weights, "the teacher's weights, --weights", system.origin)
    file = WeightsFile(path, system.weights_key, system.rename)
    return load_generator(system.generator, file, **system.arguments), file


def _found_weights(system: System) -> str | None:
    """Return the discriminator as NAME:WEIGHTS, with the weights where they are."""
    name, colon, weights = (system.discriminator or "").rpartition(":")
    if not colon or not Path(weights).suffix:
        return system.discriminator  # a name alone, or package.module:factory
    return f"{name}:{found(weights, 'the discriminator, --discriminator', system.origin)}"


def _write_table(table: Table, failed: Mapping[str, str]) -> None:
    """Write the table and the page of the rows that are finished."""
    folder, system = table.folder, table.system
    records = read_records(folder.records, system.rows or method_names())
    text = as_markdown(records)
    text += "".join(f"- {row} failed: {reason}\n" for row, reason in failed.items())
    write_atomically(folder.table, text.encode())
    if records:
        write_table_page(folder.page, f"{system.name}, {system.scale}", records, failed)


def _told(record: Mapping[str, Any]) -> dict[str, Any]:
    cost = {key: record["cost"][key] for key in ("macs", "parameters", "size_bytes")}
    figures = {result["metric"]: result["value"] for result in record["results"]}
    length = {key: record[key] for key in ("steps", "seconds")}
    return {"row": record["row"], **cost, **length, **figures}


def _command(
    name: str, scale: str, output: Path, rows: Sequence[str], changes: Mapping[str, Any]
) -> str:
    """Return the command that goes on with the table."""
    words = ["gan-slimming", "experiment", name, "--scale", scale, "--output", str(output)]
    words += ["--rows", ",".join(rows)] if rows else []
    for key, value in changes.items():
        if value is not None:
            words += [f"--{key}"] if value is True else [f"--{key}", str(value)]
    return shlex.join(words)
