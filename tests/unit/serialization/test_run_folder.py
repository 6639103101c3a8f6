"""The run folder: nothing of the user's is lost, and what is written says how to do it again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from gan_slimming.config import PAPER, Budget, Objective, Optimisation, Run
from gan_slimming.errors import UserError
from gan_slimming.serialization.run_folder import RunFolder, whole_lines


def test_a_new_folder_is_made_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    RunFolder(tmp_path / "a" / "b").make(overwrite=False)
    RunFolder(tmp_path / "a" / "b").make(overwrite=False)
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_only_a_run_folder_is_replaced_and_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    for overwrite, text in ((False, "is not empty"), (True, "is not a run folder")):
        with pytest.raises(UserError, match=text):
            RunFolder(tmp_path).make(overwrite=overwrite)
    RunFolder(tmp_path).config.write_text("")
    with pytest.raises(UserError, match="is not empty"):
        RunFolder(tmp_path).make(overwrite=False)
    assert (tmp_path / "mine.txt").read_text() == "x"
    RunFolder(tmp_path).make(overwrite=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_place_for_a_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for folder, text in ((file, "is a file"), (file / "run", "cannot make the folder")):
        with pytest.raises(UserError, match=text):
            RunFolder(folder).make(overwrite=True)
    assert file.read_text() == "x"


def test_resume_needs_a_checkpoint_and_an_unfinished_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run folder"):
        RunFolder(tmp_path).check(resume=True, overwrite=False)
    RunFolder(tmp_path).config.write_text("")
    with pytest.raises(UserError, match="start without --resume"):
        RunFolder(tmp_path).check(resume=True, overwrite=False)
    RunFolder(tmp_path).checkpoint.parent.mkdir()
    RunFolder(tmp_path).checkpoint.write_bytes(b"")
    RunFolder(tmp_path).check(resume=True, overwrite=True)
    assert RunFolder(tmp_path).checkpoint.exists()
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UserError, match="is finished"):
        RunFolder(tmp_path).check(resume=True, overwrite=False)


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
    folder = RunFolder(tmp_path)
    record = {"generator": {"name": "cartoongan", "arguments": {"width": 4}}, "protect": ("a.*",)}
    folder.write_config(record | {"run": dataclasses.asdict(run)})
    read, found = folder.read_config()
    assert read == run
    assert found["generator"] == record["generator"]
    assert found["protect"] == ["a.*"]
    assert "python/" not in folder.config.read_text()  # plain YAML, no objects


def test_settings_of_version_0_1_keep_their_meaning(tmp_path: Path) -> None:
    record = dataclasses.asdict(Run(objective=Objective(feature_distillation_weight=1.5)))
    weight = record["objective"].pop("feature_distillation_weight")
    record["objective"]["hidden_weight"] = weight
    del record["objective"]["colour_weight"], record["objective"]["lattice_weight"]
    del record["optimisation"]["draws_per_answer"]
    folder = RunFolder(tmp_path)
    folder.write_config({"run": record})
    assert folder.read_config()[0].optimisation.draws_per_answer is None
    read = folder.read_config()[0].objective
    assert read.feature_distillation_weight == 1.5
    assert read.colour_weight == read.lattice_weight == 0


def test_a_folder_without_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        RunFolder(tmp_path).read_config()


def test_a_checkpoint_drops_what_was_logged_after_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in range(1, 6):
        folder.append_metrics({"step": step, "total": 0.1234567891})
        folder.append_gates({"step": step})
    folder.metrics.write_text(folder.metrics.read_text() + '{"step": 6, "to')
    folder.drop_metrics_after(3)
    for log in (folder.metrics, folder.gates):
        assert [json.loads(line)["step"] for line in whole_lines(log)] == [1, 2, 3]
    assert json.loads(whole_lines(folder.metrics)[0])["total"] == 0.123457


def test_a_checkpoint_holds_tensors_and_numbers(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_checkpoint({"step": 3, "kept": {"a": torch.arange(2)}})
    assert torch.equal(folder.load_checkpoint()["kept"]["a"], torch.arange(2))
    assert [path.name for path in folder.checkpoint.parent.iterdir()] == ["last.pt"]
