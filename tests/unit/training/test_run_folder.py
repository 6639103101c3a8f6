"""The run folder: nothing of the user's is lost, and what is written says how to do it again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from gan_slimming.config import Budget, Objective, Optimisation, Run, UserError
from gan_slimming.models.registry import build_generator
from gan_slimming.presets import PAPER
from gan_slimming.training.run_folder import (
    CHECKPOINT,
    CONFIG,
    environment,
    fingerprint,
    open_run_folder,
    read_run,
    write_config,
)


def test_a_new_folder_is_made_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    open_run_folder(tmp_path / "a" / "b", resume=False, overwrite=False)
    open_run_folder(tmp_path / "a" / "b", resume=False, overwrite=False)
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_only_a_run_folder_is_replaced_and_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    for overwrite, text in ((False, "is not empty"), (True, "is not a run folder")):
        with pytest.raises(UserError, match=text):
            open_run_folder(tmp_path, resume=False, overwrite=overwrite)
    (tmp_path / CONFIG).write_text("")
    with pytest.raises(UserError, match="is not empty"):
        open_run_folder(tmp_path, resume=False, overwrite=False)
    assert (tmp_path / "mine.txt").read_text() == "x"
    open_run_folder(tmp_path, resume=False, overwrite=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_place_for_a_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for folder, text in ((file, "is a file"), (file / "run", "cannot make the folder")):
        with pytest.raises(UserError, match=text):
            open_run_folder(folder, resume=False, overwrite=True)
    assert file.read_text() == "x"


def test_resume_needs_a_checkpoint_and_an_unfinished_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="start without --resume"):
        open_run_folder(tmp_path, resume=True, overwrite=False)
    (tmp_path / CHECKPOINT).parent.mkdir()
    (tmp_path / CHECKPOINT).write_bytes(b"")
    open_run_folder(tmp_path, resume=True, overwrite=True)
    assert (tmp_path / CHECKPOINT).exists()
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UserError, match="is finished"):
        open_run_folder(tmp_path, resume=True, overwrite=False)


@pytest.mark.parametrize(
    "run",
    [
        Run(budget=Budget(bytes="300k"), bits=None, threads=2, seed=7),
        Run(
            objective=Objective(rho=0.01, **PAPER["objective"]),
            optimisation=Optimisation(**PAPER["optimisation"]),
            activation_range=4.0,
        ),
    ],
)
def test_settings_are_read_as_they_were_written(run: Run, tmp_path: Path) -> None:
    teacher = build_generator("cartoongan", width=4, blocks=1)
    weights = tmp_path / "w.pth"
    write_config(
        tmp_path, run, teacher, data=tmp_path / "photos", targets=None, protect=["blocks.*"],
        distance="l1", weights=weights,
    )  # fmt: skip
    read, record = read_run(tmp_path)
    assert read == run
    assert record["generator"] == {
        "name": "cartoongan",
        "arguments": {"width": 4, "blocks": 1},
        "weights": str(weights),
        "sha256": fingerprint(teacher),
    }
    assert record["protect"] == ["blocks.*"]
    assert Path(record["data"]).is_absolute()
    assert "python/" not in (tmp_path / CONFIG).read_text()  # plain YAML, no objects
    assert yaml.safe_load((tmp_path / CONFIG).read_text()).keys() == record.keys()


def test_a_folder_without_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        read_run(tmp_path)


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
    assert found["threads"] == torch.get_num_threads()
