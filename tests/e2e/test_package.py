"""What a user installs: the sdist holds the tests, and the wheel built from it runs by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sdist and the wheel that was made from it."""
    folder = tmp_path_factory.mktemp("dist")
    run = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_sdist_can_be_checked(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "constraints.txt", "tests/conftest.py", "docs/index.md"} <= names


def test_the_wheel_holds_everything_in_the_package(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        inside = set(archive.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    files = tracked or [str(p.relative_to(ROOT)) for p in (ROOT / "src").rglob("*.py")]
    assert {name.removeprefix("src/") for name in files} <= inside


def test_the_wheel_runs_without_the_repository(built: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        archive.extractall(tmp_path / "site")
    path = "import gan_slimming; print(gan_slimming.__file__)"
    commands = {
        str(tmp_path / "site"): ["-c", path],
        "dcgan": ["-m", "gan_slimming", "inspect", "dcgan"],
    }
    for expected, words in commands.items():
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
