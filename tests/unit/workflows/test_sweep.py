"""Sweeps of a stand-in for compress: what is begun, resumed, tried again and left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.run_folders import finished_run

from gan_slimming.errors import Interrupted, UserError
from gan_slimming.serialization.run_lock import RunLock
from gan_slimming.workflows.sweep import SweepWarning, environments, sweep
from gan_slimming.workflows.trial import Trial

PROGRAM = """
import os, shutil, sys, time
ready, flags, folder = sys.argv[1], sys.argv[2:-1], sys.argv[-1]
with open(folder + ".calls", "a") as calls:
    calls.write(" ".join(flags) + "\\n")
if "--slow" in flags and not os.path.exists(folder + "/config.yaml"):
    os.makedirs(folder + "/checkpoints")
    open(folder + "/config.yaml", "w").close()
    open(folder + "/checkpoints/last.pt", "w").close()
    import signal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    time.sleep(60)
if "--bad" in flags or ("--flaky" in flags and not os.path.exists(folder)):
    if "--flaky" in flags:
        os.makedirs(folder + "/checkpoints")
        open(folder + "/config.yaml", "w").close()
        open(folder + "/checkpoints/last.pt", "w").close()
    print("error: no photos", file=sys.stderr)
    sys.exit(2)
shutil.copytree(ready, folder, dirs_exist_ok=True)
"""


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a sweep whose trials are a small program in place of compress."""
    ready = finished_run(tmp_path / "ready")
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    original = Trial.command

    def command(trial: Trial) -> list[str]:
        *words, _, folder = [word for word in original(trial) if word != "--resume"]
        resumed = ["--resume"] if "--resume" in original(trial) else []
        flags = [*words[4:], *resumed]
        return [sys.executable, "-S", str(script), str(ready), *flags, folder]

    monkeypatch.setattr(Trial, "command", command)
    return tmp_path / "sweep"


def calls(output: Path, name: str) -> list[str]:
    return (output / f"{name}.calls").read_text().splitlines()


def test_finished_trials_are_not_run_again_and_failed_ones_are(trials: Path) -> None:
    said: list[str] = []
    flags = {"a": ["--seed", "1"], "b": ["--flaky"], "c": ["--bad"]}
    with pytest.warns(SweepWarning, match="1 of 3 trials failed"):
        found = sweep(flags, trials, workers=2, say=said.append)
    assert [row["trial"] for row in found] == ["a", "b", "c"]
    assert found[0]["macs"] == 100
    assert found[2]["error"] == "no photos"
    assert calls(trials, "a") == ["--seed 1"]
    assert calls(trials, "b") == ["--flaky", "--flaky --resume"]
    assert calls(trials, "c") == ["--bad", "--bad"]
    assert (trials / "comparison.html").is_file()
    assert any("c failed: no photos" in line for line in said)
    with pytest.warns(SweepWarning):
        again = sweep(flags | {"d": ["--seed", "2"]}, trials)
    assert len(calls(trials, "a")) == 1
    assert len(calls(trials, "c")) == 4
    assert again[3]["size_bytes"] == 90


def test_other_flags_under_a_name_are_another_sweep(trials: Path) -> None:
    sweep({"a": ["--seed", "1"]}, trials)
    with pytest.raises(UserError, match="its a has --seed 1, not --seed 2; name another --output"):
        sweep({"a": ["--seed", "2"]}, trials)
    (trials / "sweep.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        sweep({"a": ["--seed", "1"]}, trials)


def test_a_folder_of_other_things_is_refused(trials: Path) -> None:
    trials.mkdir()
    (trials / "thesis.tex").touch()
    with pytest.raises(UserError, match="is not empty and no sweep"):
        sweep({"a": []}, trials)
    assert not (trials / ".lock").exists()


def test_where_all_trials_fail_the_first_reason_is_told(trials: Path) -> None:
    with pytest.raises(UserError, match="all 2 trials failed; the first: no photos"):
        sweep({"a": ["--bad"], "b": ["--bad"]}, trials)


def test_a_stop_saves_the_runs_and_the_same_sweep_goes_on(trials: Path) -> None:
    flags = {"a": ["--slow"], "b": ["--slow"]}
    stopper = subprocess.Popen(
        [sys.executable, "-S", "-c", WATCH, str(trials / "b" / "config.yaml"), str(os.getpid())]
    )
    with pytest.raises(Interrupted, match="the same command goes on"):
        sweep(flags, trials, workers=2)
    assert stopper.wait() == 0
    found = sweep(flags, trials, workers=2)
    assert all("error" not in row for row in found)
    assert calls(trials, "b") == ["--slow", "--slow --resume"]


WATCH = """
import os, signal, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.05)
time.sleep(0.5)
os.kill(int(sys.argv[2]), signal.SIGTERM)
"""


def test_a_trial_that_was_left_behind_is_waited_for(trials: Path) -> None:
    folder = trials / "a"
    finished_run(folder)
    summary = folder / "summary.json"
    text = summary.read_text()
    summary.unlink()
    (trials / "sweep.json").write_text(json.dumps({"a": []}))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), text], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert sweep({"a": []}, trials)[0]["macs"] == 100
    assert not (trials / "a.calls").exists()
    assert holder.returncode == 0


HOLD = """
import fcntl, json, os, sys, time
folder, text = sys.argv[1:]
lock = open(folder + "/.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(1)
with open(folder + "/summary.json", "w") as file:
    file.write(text)
"""


def test_two_sweeps_do_not_share_a_folder(trials: Path) -> None:
    trials.mkdir()
    with (
        RunLock(trials / ".lock").held("it"),
        pytest.raises(UserError, match="belongs to another run"),
    ):
        sweep({"a": []}, trials)


def test_workers_share_cores_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environments(1) == [{}]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    places = [
        (place["OMP_NUM_THREADS"], place["CUDA_VISIBLE_DEVICES"]) for place in environments(3)
    ]
    assert places == [("2", "4"), ("2", "7"), ("2", "4")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environments(2) == [{}, {}]


def test_ray_is_named_where_it_is_missing(trials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'gan-slimming\[sweep\]'"):
        sweep({"a": []}, trials, ray="local")
