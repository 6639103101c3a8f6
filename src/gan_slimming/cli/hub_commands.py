"""The commands on models that are passed on: models, push and pull."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def models(*, cards: Path | None = None, overwrite: bool = False) -> dict[str, Any]:
    """List the models that come with the package; each name stands wherever MODEL stands.

    For example:
        gan-slimming models
        gan-slimming translate cartoon-hayao photo.jpg --output out

    Args:
        cards: Folder for a model card of each model in Markdown, such as cards/. Default: none.
        overwrite: Replace cards that exist.
    """
    from gan_slimming.workflows.models import models as listed
    from gan_slimming.workflows.models import print_table

    report = listed(cards, overwrite=overwrite)
    print_table(report)
    return report


def push(
    model: str,
    repo: str,
    /,
    *,
    licence: str | None = None,
    origin: str | None = None,
    description: str | None = None,
    evaluation: Path | None = None,
    revision: str | None = None,
    private: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Push a small generator to the Hugging Face Hub, with its record and a model card.

    The token is read from HF_TOKEN. Needs the extra [hub].

    For example:
        gan-slimming push runs/hayao ada/cartoon-hayao --licence MIT --dry-run

    Args:
        model: A run folder, such as runs/hayao; its generator.safetensors; a pulled folder; or the
            name of a shipped model.
        repo: Repository on the Hub, such as ada/cartoon-hayao. It is made if it is missing.
        licence: Licence of the file as SPDX names it, such as MIT. Default: that of the record
            beside a shipped or pulled model.
        origin: Whose work the teacher is, and its licence, in one line.
        description: What the generator does, in one line.
        evaluation: File that evaluate --output NAME.json wrote, for the card. Default: the figures
            of the run's own summary.
        revision: Branch to push to, made if it is missing. Default: main.
        private: Make a new repository private.
        dry_run: Send nothing; print the files and the card.
    """
    from gan_slimming.workflows.hub import push as run

    return run(
        model,
        repo,
        licence=licence,
        origin=origin,
        description=description,
        evaluation=evaluation,
        revision=revision,
        private=private,
        dry_run=dry_run,
    )


def pull(
    repo: str, /, *, output: Path, revision: str | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Pull a small generator from the Hugging Face Hub into a folder, which is a MODEL then.

    Only generator.safetensors, its record and its card are taken. Their hashes are checked, and
    nothing from the repository is executed. Needs the extra [hub].

    For example:
        gan-slimming pull ada/cartoon-hayao --output hayao
        gan-slimming translate hayao photo.jpg --output out

    Args:
        repo: Repository on the Hub, such as ada/cartoon-hayao. For a private one set HF_TOKEN.
        output: Folder to create, such as hayao.
        revision: Branch, tag or commit, such as v1. Default: main.
        overwrite: Replace the files of an earlier pull.
    """
    from gan_slimming.workflows.hub import pull as run

    return run(repo, output, revision=revision, overwrite=overwrite)
