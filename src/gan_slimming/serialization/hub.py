"""The Hugging Face Hub: files go up in one commit, and come down checked by their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gan_slimming.errors import UserError, one_line

WEIGHTS = "generator.safetensors"
"""Name of the file in a repository."""
CARD = "README.md"
SMALL = 1 << 20
"""Most bytes of a card or a record that is taken."""
LARGE = 1 << 32
"""Most bytes of weights that are taken."""


@dataclass(frozen=True)
class RemoteFile:
    """A file in a repository, at one commit."""

    size_bytes: int
    sha256: str | None
    """As the Hub states it, for large files."""
    blob: str | None
    """Git's SHA-1 of a small file."""


@dataclass(frozen=True)
class Remote:
    """A repository at one commit."""

    repo: str
    commit: str
    files: Mapping[str, RemoteFile]


def check_repo(repo: str) -> None:
    """Raise UserError for anything but USER/NAME."""
    part = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
    if not re.fullmatch(f"{part}/{part}", repo) or "--" in repo or ".." in repo:
        raise UserError(f"REPO is USER/NAME on the Hub, such as ada/cartoon-hayao; got {repo!r}")


def endpoint() -> str:
    """Return the address of the Hub: HF_ENDPOINT, or the public one."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def upload(
    repo: str, files: Mapping[str, bytes], message: str, *, revision: str | None, private: bool
) -> str:
    """Create the repository if it is missing, add the files in one commit; return its address.

    Args:
        repo: USER/NAME.
        files: path in the repository -> content.
        message: of the commit.
        revision: branch, made if it is missing; None for main.
        private: whether a new repository is private.
    Raises:
        UserError: no token, no right to write, or no connection.
    """
    api = _api()
    if api.token is None:
        raise UserError(
            "push needs a token with write access: set HF_TOKEN to one of "
            "https://huggingface.co/settings/tokens"
        )
    from huggingface_hub import CommitOperationAdd  # pyright: ignore[reportMissingImports]

    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    with _in_one_line(repo, revision):
        api.create_repo(repo, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        done = api.create_commit(repo, operations, commit_message=message, revision=revision)
    return str(done.commit_url)


def look(repo: str, revision: str | None) -> Remote:
    """Return the files of a repository, at the commit that a branch, tag or commit names.

    Raises:
        UserError: repository or revision do not exist, or cannot be reached.
    """
    with _in_one_line(repo, revision):
        info = _api().model_info(repo, revision=revision, files_metadata=True)
    files = {}
    for entry in info.siblings or ():
        lfs = entry.lfs
        size = (lfs.size if lfs else entry.size) or 0
        files[entry.rfilename] = RemoteFile(size, lfs.sha256 if lfs else None, entry.blob_id)
    return Remote(repo, str(info.sha), files)


def fetch(remote: Remote, name: str, folder: Path) -> Path:
    """Download one file of a repository to `folder`; return its path, once its hash is right.

    Raises:
        UserError: the file is too large, or other than the Hub says it is.
    """
    told = remote.files[name]
    most = LARGE if name.endswith(".safetensors") else SMALL
    if told.size_bytes > most:
        raise UserError(
            f"{name} of {remote.repo} has {told.size_bytes:,} bytes, more than {most:,}; this is "
            "no generator of gan-slimming"
        )
    from huggingface_hub import hf_hub_download  # pyright: ignore[reportMissingImports]

    with _in_one_line(remote.repo, remote.commit):
        path = Path(
            hf_hub_download(
                remote.repo, name, revision=remote.commit, local_dir=folder, endpoint=endpoint()
            )
        )
    _check_hash(path, told, remote.repo)
    return path


def _check_hash(path: Path, told: RemoteFile, repo: str) -> None:
    content = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    came, wanted = blob, told.blob
    if told.sha256:
        came, wanted = hashlib.sha256(content).hexdigest(), told.sha256
    if wanted and came != wanted:
        raise UserError(
            f"{path.name} of {repo} came damaged: its hash is {came[:12]}, the Hub says "
            f"{wanted[:12]}; pull again"
        )


def _api() -> Any:
    """Return the Hub's client; its token is None where none is set."""
    require_hub()
    import huggingface_hub  # pyright: ignore[reportMissingImports]
    from huggingface_hub.utils import disable_progress_bars  # pyright: ignore

    if sys.stderr is None or not sys.stderr.isatty():
        disable_progress_bars()
    token = huggingface_hub.get_token()
    return huggingface_hub.HfApi(endpoint=endpoint(), token=token, library_name="gan-slimming")


def require_hub() -> None:
    """Raise UserError where huggingface_hub is not installed."""
    if find_spec("huggingface_hub") is None:
        raise UserError("huggingface_hub is not installed; pip install 'gan-slimming[hub]'")


@contextmanager
def _in_one_line(repo: str, revision: str | None) -> Iterator[None]:
    """Turn the client's errors into one line with a way out."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # its own types, the HTTP library's, and the system's
        raise UserError(_reason(error, repo, revision)) from error


def _reason(error: Exception, repo: str, revision: str | None) -> str:
    names = {kind.__name__ for kind in type(error).__mro__}
    status = None
    with contextlib.suppress(AttributeError):
        status = error.response.status_code  # pyright: ignore[reportAttributeAccessIssue]
    if "RevisionNotFoundError" in names:
        return f"{repo} has no revision {revision}; name a branch, a tag or a commit"
    if "GatedRepoError" in names:
        return f"{repo} is gated; ask for access at {endpoint()}/{repo}, then set HF_TOKEN"
    if status in (401, 403):
        return (
            f"{endpoint()} refuses {repo} ({status}); set HF_TOKEN to a token that may do this, "
            "and check the name"
        )
    if "RepositoryNotFoundError" in names:
        return f"{endpoint()} has no {repo}, or it is private; check the name, or set HF_TOKEN"
    if "OfflineModeIsEnabled" in names:
        return "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it"
    if status is not None:
        return f"{endpoint()} answered {status} for {repo} ({one_line(error)[:150]}); try again"
    return f"cannot reach {endpoint()} ({one_line(error)[:150]}); try again when online"
