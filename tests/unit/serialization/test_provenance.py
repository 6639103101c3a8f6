"""Where a result comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import torch

from gan_slimming.models.registry import build_generator
from gan_slimming.serialization.provenance import (
    PACKAGE,
    code_of,
    commit_of,
    environment,
    fingerprint,
)


def test_the_fingerprint_follows_every_weight() -> None:
    module = build_generator("cartoongan", width=4, blocks=1)
    before = fingerprint(module)
    assert fingerprint(module) == before
    last = list(module.parameters())[-1]
    last.data[0] += 1e-3
    assert fingerprint(module) != before


def test_the_environment_says_where_and_with_what() -> None:
    found = environment()
    assert found["versions"]["torch"] == torch.__version__
    assert set(found["versions"]) >= {"gan-slimming", "python", "safetensors"}
    assert found["processor"]
    assert found["code"] == code_of(PACKAGE)
    assert found["threads"] == torch.get_num_threads()


def test_the_commit_is_this_packages_and_not_that_of_the_users_own_repository(
    tmp_path: Path,
) -> None:
    """As when it is installed in an environment inside somebody's checkout."""

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "theirs")
    installed = tmp_path / ".venv" / "lib" / "gan_slimming"
    source = tmp_path / "src" / "gan_slimming"
    for package in (installed, source):
        package.mkdir(parents=True)
    assert commit_of(installed) is None
    assert commit_of(source) == git("rev-parse", "HEAD")


def test_the_code_is_known_without_its_history(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.py").write_text("x = 1")
    before = code_of(tmp_path)
    (tmp_path / "inner" / "notes.txt").write_text("no code")
    assert code_of(tmp_path) == before
    (tmp_path / "inner" / "a.py").rename(tmp_path / "inner" / "b.py")
    assert code_of(tmp_path) != before
