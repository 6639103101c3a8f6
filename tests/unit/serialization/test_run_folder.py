"""The run folder: nothing of the user's is lost, and what is written says how to do it again."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_slimming.config import PAPER, Budget, Memory, Objective, Optimisation, Run
from gan_slimming.errors import UserError
from gan_slimming.serialization.checkpoint_file import RunIdentity, digest_of
from gan_slimming.serialization.run_folder import MARKER, RunFolder, whole_lines


def test_a_new_folder_is_made_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    RunFolder(tmp_path / "a" / "b").make(overwrite=False)
    RunFolder(tmp_path / "a" / "b").make(overwrite=False)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [MARKER]


def test_only_a_folder_of_this_package_is_replaced_and_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    (tmp_path / "config.yaml").write_text("name: mine")
    for overwrite, text in ((False, "is not empty"), (True, "is not a run folder")):
        with pytest.raises(UserError, match=text):
            RunFolder(tmp_path).make(overwrite=overwrite)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match=r"made before runs carried .*rename it"):
        RunFolder(tmp_path).make(overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.yaml", "metrics.jsonl", "mine.txt",
    ]  # fmt: skip


def made(folder: Path) -> RunFolder:
    """A folder with every file of a run, and two of the user's."""
    run = RunFolder(folder)
    run.make(overwrite=False)
    run.samples.mkdir()
    run.save_checkpoint({"step": 1})
    run.save_checkpoint({"step": 2})
    for file in (run.config, run.metrics, run.gates, run.held_out, run.ranges, run.layers,
                 run.generator, run.summary, run.report, run.images, run.benchmark,
                 run.samples / "00_input_teacher_student.png", run.samples / "mine.png",
                 folder / f".{'0a' * 8}.pt", folder / "thesis.tex"):  # fmt: skip
        file.write_text("{}")
    return run


def test_overwriting_removes_what_runs_make_and_nothing_else(tmp_path: Path) -> None:
    run = made(tmp_path)
    with pytest.raises(UserError, match="or replace it with --overwrite"):
        run.make(overwrite=False)
    run.make(overwrite=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {MARKER, "benchmark.json", "samples/mine.png", "thesis.tex"}
    assert not run.checkpoint.parent.exists()


def test_a_folder_with_an_input_is_not_overwritten(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "x.png").symlink_to(run.samples / "mine.png")
    (tmp_path / "alias").symlink_to(run.path, target_is_directory=True)
    (run.path / "outside").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    alias = tmp_path / "alias"
    inputs = [run.generator, run.samples, run.path, tmp_path / "photos", alias,
              alias / "generator.safetensors", run.path / "outside", tmp_path]  # fmt: skip
    for given in inputs:
        with pytest.raises(UserError, match="which this run reads, so it is not overwritten"):
            RunFolder(run.path).make(overwrite=True, inputs=[given])
    assert run.generator.exists()
    RunFolder(run.path).check(resume=False, overwrite=True, inputs=[tmp_path / "elsewhere"])


def test_links_in_place_of_a_runs_files_are_not_followed(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "00_input_teacher_student.png").write_text("x")
    shutil.rmtree(run.samples)
    run.samples.symlink_to(tmp_path / "mine", target_is_directory=True)
    with pytest.raises(UserError, match="samples is a link, which no run makes"):
        run.make(overwrite=True)
    assert (tmp_path / "mine" / "00_input_teacher_student.png").exists()


def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    one, other = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with one.owned():
        one.make(overwrite=False)
        one.check(resume=False, overwrite=True)
        for resume in (False, True):
            with pytest.raises(UserError, match=rf"another run, process {os.getpid()} on .*wait"):
                other.check(resume=resume, overwrite=True)
        with pytest.raises(UserError, match="belongs to another run"), other.owned():
            pass
    with other.owned():
        assert other.marked
    assert not other.lock.path.exists()


def test_a_run_that_ends_before_its_first_file_leaves_no_folder(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").owned():
        assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run").exists()


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
        Run(memory=Memory(images=0, answers="1.5G", answers_on="disk"), workers=0),
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
    del record["memory"], record["workers"]
    del record["objective"]["colour_weight"], record["objective"]["lattice_weight"]
    del record["optimisation"]["draws_per_answer"]
    folder = RunFolder(tmp_path)
    folder.write_config({"run": record})
    read = folder.read_config()[0]
    assert read.objective.feature_distillation_weight == 1.5
    assert read.memory.image_bytes == 8 * 2**30  # numbers of images do not change at resumption
    assert read.optimisation.draws_per_answer is None
    assert read.objective.colour_weight == read.objective.lattice_weight == 0


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


@pytest.fixture
def saved(tmp_path: Path) -> RunFolder:
    """A run with two checkpoints, of steps 3 and 4."""
    folder = RunFolder(tmp_path)
    folder.make(overwrite=False)
    folder.identity = RunIdentity({"seed": 3, "steps": 9}, "teacher", "start", "images")
    for step in (3, 4):
        folder.save_checkpoint({"step": step, "student": {"w": torch.arange(4.0) + step}})
    return folder


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    state = torch.load(file, weights_only=True)
    change(state)
    torch.save(state, file)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:300]),
    "empty": lambda file: file.write_bytes(b""),
    "noise": lambda file: file.write_bytes(bytes(range(256)) * 20),
    "a flipped bit": lambda file: file.write_bytes(
        file.read_bytes().replace(torch.arange(4.0).add(4).numpy().tobytes(), b"\1" * 16)
    ),
    "edited": lambda file: edit(file, lambda state: state["student"]["w"].add_(1)),
    "without its seal": lambda file: edit(file, lambda state: state.pop("seal")),
    "another seal": lambda file: edit(file, lambda state: state.update(seal=5)),
    "a list": lambda file: torch.save([1], file),
    "an object": lambda file: torch.save({"step": 4, "x": Path()}, file),
    "another run's": lambda file: edit(file, _of_another_run),
}


def _of_another_run(state: dict[str, Any]) -> None:
    del state["seal"]
    run = dataclasses.asdict(RunIdentity({"seed": 11, "steps": 9}, "teacher", "start", "images"))
    state["seal"] = {"format": 1, "run": run, "sha256": digest_of([dict(state), run])}
    del state["seal"]["format"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_of_a_refused_checkpoint_the_one_before_is_taken(
    saved: RunFolder, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    DAMAGE[damage](saved.checkpoint)
    state = saved.load_checkpoint()
    assert state["step"] == 3
    assert torch.equal(state["student"]["w"], torch.arange(4.0) + 3)
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "going on from the one before, of step 3" in line
    assert "weights_only" not in line
    assert ("is of another run: seed 11" in line) == (damage == "another run's")
    saved.save_checkpoint({"step": 5})
    assert [RunFolder(saved.path).load_checkpoint()["step"], saved.previous.exists()] == [5, True]


def test_without_a_whole_checkpoint_one_line_says_what_to_do(saved: RunFolder) -> None:
    for file in (saved.checkpoint, saved.previous):
        file.write_bytes(b"")
    with pytest.raises(
        UserError, match=r"last\.pt is damaged.*start again with --overwrite"
    ) as told:
        saved.load_checkpoint()
    assert "\n" not in str(told.value)


def test_a_crash_between_the_two_renames_loses_nothing(saved: RunFolder) -> None:
    saved.checkpoint.unlink()
    saved.config.write_text("")
    saved.check(resume=True, overwrite=False)
    assert saved.load_checkpoint()["step"] == 3


@pytest.mark.parametrize(("name", "text"), [("teacher", "other teacher"), ("images", "other im")])
def test_a_checkpoint_of_other_inputs_is_refused(saved: RunFolder, name: str, text: str) -> None:
    assert saved.identity is not None
    saved.identity = dataclasses.replace(saved.identity, **{name: "another"})
    with pytest.raises(UserError, match=text):
        saved.load_checkpoint()


def test_a_checkpoint_of_version_0_1_has_no_seal_and_is_taken(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoint.parent.mkdir()
    torch.save({"step": 7}, folder.checkpoint)
    folder.identity = RunIdentity({}, "", "", "")
    assert folder.load_checkpoint() == {"step": 7}


def test_damaged_lines_of_a_log_are_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = RunFolder(tmp_path)
    folder.append_metrics({"step": 1, "total": 0.5})
    with folder.metrics.open("ab") as file:
        file.write(b"garbage\n" + bytes(512) + b"\n5\n{}\n" + b"[" * 5000 + b"\n")
        file.write(b'{"step": "2"}\n\xff\xfe\n')
    folder.append_metrics({"step": 2, "total": 0.25})
    folder.drop_metrics_after(2)
    assert [json.loads(line)["step"] for line in whole_lines(folder.metrics)] == [1, 2]
    assert f"{folder.metrics}: 7 lines were damaged and left out" in caplog.text


def test_lines_that_the_disk_refused_are_written_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(OSError, match="No such file"):
        folder.append_metrics({"step": 1})
    folder.path.mkdir()
    folder.append_metrics({"step": 2})
    assert folder.metrics.read_text() == '{"step": 1}\n{"step": 2}\n'


ROWS = [{"set": "data", "name": f"{i}.png", "bytes": 1, "sha256": str(i)} for i in range(3)]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (ROWS[1:], "0.png is missing"),
        ([*ROWS[:2], ROWS[2] | {"sha256": "x"}], "2.png has changed"),
        ([*ROWS[:2], ROWS[2] | {"name": "new.png"}], "2.png is now new.png"),
        ([*ROWS, ROWS[2] | {"name": "new.png", "sha256": "9"}], "new.png is new"),
    ],
)
def test_changed_images_are_noticed(tmp_path: Path, rows: list[dict[str, Any]], text: str) -> None:
    folder = RunFolder(tmp_path)
    folder.check_images(rows)  # a run of version 0.1 has no list
    folder.write_images(ROWS)
    folder.check_images(ROWS)
    with pytest.raises(UserError, match=f"not those it began with: {text}; put them back"):
        folder.check_images(rows)


@pytest.mark.parametrize(
    "text",
    [
        "", "5", "a: [", "run: 5", "run: {size: x}", "\x00", "[" * 2000,
        "a: &a [x]\nb: *a", "generator: 5\nrun: {}", "data: [1]", "x: " + "y" * (1 << 20),
    ],
)  # fmt: skip
def test_damaged_settings_are_one_line(tmp_path: Path, text: str) -> None:
    RunFolder(tmp_path).config.write_text(text)
    with pytest.raises(
        UserError, match=r"config\.yaml cannot be read \(.*put its copy back"
    ) as told:
        RunFolder(tmp_path).read_config()
    assert len(str(told.value)) < 600


def by_the_clock(folder: Path, lines: list[dict[str, float]]) -> RunFolder:
    run = RunFolder(folder)
    settings = Run(optimisation=Optimisation(minutes=1.0))
    run.write_config({"run": dataclasses.asdict(settings)})
    for line in lines:
        run.append_metrics(line)
    return run


def test_a_finished_run_by_the_clock_tells_its_progress_exactly(tmp_path: Path) -> None:
    positions = [0.123457, 0.5, 1.0]
    lines = [{"step": 0, "psnr": 3.0}]
    lines += [{"step": i, "progress": at} for i, at in enumerate(positions, start=1)]
    run = by_the_clock(tmp_path, lines)
    with pytest.raises(UserError, match="is not finished, so it cannot be repeated"):
        run.read_positions()
    run.write_summary({})
    assert run.read_positions() == positions


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [{"step": 1, "progress": 0.5}],
        [{"step": 2, "progress": 1.0}],
        [{"step": 1}, {"step": 2, "progress": 1.0}],
    ],
)
def test_a_record_with_gaps_is_refused(tmp_path: Path, lines: list[dict[str, float]]) -> None:
    run = by_the_clock(tmp_path, [{"step": 0}, *lines])
    run.write_summary({})
    with pytest.raises(UserError, match="has gaps, so the run cannot be repeated"):
        run.read_positions()


def test_a_run_by_steps_needs_no_record_to_be_repeated(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_config({"run": dataclasses.asdict(Run())})
    run.write_summary({})
    assert run.read_positions() == []
