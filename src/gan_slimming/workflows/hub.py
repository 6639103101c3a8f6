"""The commands push and pull: generators to and from the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from gan_slimming.data.download import file_sha256
from gan_slimming.data.files import refuse_existing, write_atomically
from gan_slimming.errors import UserError, one_line, system_reason
from gan_slimming.reports.model_card import model_card
from gan_slimming.serialization.generator_file import read_header
from gan_slimming.serialization.hub import (
    CARD,
    WEIGHTS,
    Remote,
    check_repo,
    endpoint,
    fetch,
    look,
    upload,
)
from gan_slimming.serialization.model_record import NAME, RECORD, ModelRecord, read_record
from gan_slimming.serialization.record_of_run import Told, read_evaluation, record_of_run
from gan_slimming.serialization.resolve import model_file
from gan_slimming.serialization.shipped import shipped_file


def push(
    model: str,
    repo: str,
    *,
    licence: str | None = None,
    origin: str | None = None,
    description: str | None = None,
    evaluation: str | Path | None = None,
    revision: str | None = None,
    private: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Push a generator to the Hub: its file, its record and a card made of the record.

    Args:
        model: a run folder, a generator.safetensors, or a shipped model.
        repo: USER/NAME; it is made if it is missing.
        licence: SPDX identifier; None for that of a record which lies beside the file.
        origin, description: whose work the teacher is, and what the generator does, a line each.
        evaluation: what `evaluate --output NAME.json` wrote; None for the run's own figures.
        revision: branch, made if it is missing; None for main.
        private: whether a new repository is private.
        dry_run: whether to send nothing, and return the card.
    Returns:
        repo, revision, private, dry_run, url, files (name -> bytes), sha256 and card.
    Raises:
        UserError: no such model, no licence, no token, or the Hub refuses.
    """
    check_repo(repo)
    file = _saved(model)
    told = Told(_name_of(model, repo), licence, origin, description)
    judged = None if evaluation is None else read_evaluation(Path(evaluation))
    record = record_of_run(file, told, judged)
    card = model_card(record, repo)
    files = {
        WEIGHTS: file.read_bytes(),
        RECORD: record.as_json().encode(),
        CARD: card.encode(),
    }
    url = f"{endpoint()}/{repo}"
    if not dry_run:
        url = upload(repo, files, f"Add {record.name}", revision=revision, private=private)
    return {
        "repo": repo,
        "revision": revision or "main",
        "private": private,
        "dry_run": dry_run,
        "url": url,
        "files": {name: len(content) for name, content in files.items()},
        "sha256": record.sha256,
        "card": card,
    }


def pull(
    repo: str, output: str | Path, *, revision: str | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Pull a generator from the Hub into a folder, which is a MODEL then.

    Only generator.safetensors, its record and its card are taken. Hashes are compared with those
    that the Hub states and with the record; nothing is executed.

    Args:
        repo: USER/NAME.
        output: the folder, made if it is missing.
        revision: branch, tag or commit; None for main.
        overwrite: whether to replace the files of an earlier pull.
    Returns:
        repo, commit, output, generator, sha256, size_bytes, licence and record.
    Raises:
        UserError: the repository holds no generator, a hash is wrong, or files exist.
    """
    check_repo(repo)
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder with --output")
    names = (WEIGHTS, RECORD, CARD)
    refuse_existing(*(folder / name for name in names), overwrite=overwrite)
    remote = look(repo, revision)
    if WEIGHTS not in remote.files:
        held = ", ".join(sorted(remote.files)[:5]) or "nothing"
        raise UserError(f"{repo} holds no {WEIGHTS} of gan-slimming, but {held}; check the name")
    with tempfile.TemporaryDirectory(prefix="gan-slimming-") as temporary:
        found = {n: fetch(remote, n, Path(temporary)) for n in names if n in remote.files}
        record = _checked(remote, found)
        _place(found, folder)
    return {
        "repo": repo,
        "commit": remote.commit,
        "output": str(folder),
        "generator": str(folder / WEIGHTS),
        "sha256": file_sha256(folder / WEIGHTS),
        "size_bytes": (folder / WEIGHTS).stat().st_size,
        "licence": record.licence if record else None,
        "record": vars(record) if record else None,
    }


def _checked(remote: Remote, found: dict[str, Path]) -> ModelRecord | None:
    """Return the record; raise UserError where the files are not a generator and its record."""
    try:
        read_header(found[WEIGHTS])
    except UserError as error:
        reason = one_line(error).replace(str(found[WEIGHTS]), WEIGHTS)
        raise UserError(f"{remote.repo}: {reason}") from error
    if RECORD not in found:
        return None
    try:
        record = read_record(found[RECORD])
    except UserError as error:
        reason = one_line(error).replace(str(found[RECORD]), RECORD)
        raise UserError(f"{remote.repo}: {reason}") from error
    if record.sha256 != (came := file_sha256(found[WEIGHTS])):
        raise UserError(
            f"{WEIGHTS} of {remote.repo} is not the file of its record: SHA-256 {came[:12]}, the "
            f"record says {record.sha256[:12]}; tell its owner"
        )
    return record


def _place(found: dict[str, Path], folder: Path) -> None:
    """Move what was pulled to the folder, each file whole, the weights last."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in reversed(found):
            write_atomically(folder / name, found[name].read_bytes())
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({system_reason(error)}); name another --output"
        ) from error


def _saved(model: str) -> Path:
    """Return the file of MODEL; raise UserError for one that is no saved generator."""
    file = model_file(model)
    if file is None or file.suffix != ".safetensors" or ":" in model:
        raise UserError(
            f"{model} is no generator that was made small; give a run folder, its "
            "generator.safetensors, or a shipped model"
        )
    return file


def _name_of(model: str, repo: str) -> str:
    """Return the model's name: a shipped one, or that of the repository in lower case."""
    if not Path(model).exists() and shipped_file(model):
        return model
    name = repo.rpartition("/")[2].lower().replace(".", "-")
    return name if NAME.fullmatch(name) else "generator"
