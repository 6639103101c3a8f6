"""sweep: a grid of compress runs, each a process of its own, and the page on all of them."""

from __future__ import annotations

import importlib
import json
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from gan_slimming.data.files import write_atomically
from gan_slimming.errors import Interrupted, UserError, one_line, system_reason
from gan_slimming.reports import comparison
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.serialization.run_lock import RunLock
from gan_slimming.training.interruption import interruptible
from gan_slimming.workflows.trial import Trial, run_trial

PLAN = "sweep.json"
"""The flags of every trial, by its name."""
LOCK = ".lock"
POLL = 0.2
"""Seconds between two looks at a stop."""
STOP_SECONDS = 60.0
"""Most seconds that a stopped trial on Ray gets to save its run."""
Say = Callable[[str], None]
"""Tells the progress, in one line."""


class SweepWarning(UserWarning):
    """A warning that trials have failed."""


def sweep(
    flags: Mapping[str, Sequence[str]],
    output: Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    say: Say = lambda text: None,
) -> list[dict[str, Any]]:
    """Run the trials that are not finished, go on with those that were stopped, compare all.

    Args:
        flags: name of each trial -> its flags of compress, without --output.
        output: folder of the run folders; that of an earlier sweep is continued.
        workers: number of trials at a time on this machine.
        ray: address of a Ray cluster that runs the trials instead; 'local' starts one here.
        say: tells what begins and ends.
    Returns:
        For each trial its name, run (folder) and flags, with its summary, or with its error.
    Raises:
        UserError: the folder is of another origin, or all trials failed.
        Interrupted: a stop was asked for; the same command goes on.
    """
    trials = [Trial(name, tuple(words), output / name) for name, words in flags.items()]
    _make(output)
    with RunLock(output / LOCK).held(str(output)):
        _plan(output, trials)
        todo = [trial for trial in trials if not RunFolder(trial.folder).finished]
        say(f"{len(trials)} trials in {output}, {len(trials) - len(todo)} of them finished before")
        with interruptible() as stopped:
            errors = (
                _side_by_side(todo, workers, stopped, say)
                if ray is None
                else _on_ray(todo, ray, stopped, say)
            )
        done = [trial for trial in trials if trial.name not in errors]
        if not done:
            raise UserError(f"all {len(trials)} trials failed; the first: {errors[trials[0].name]}")
        page = comparison.compare([trial.folder for trial in done], output / comparison.PAGE)
        say(f"{len(done)} of {len(trials)} trials done; see {page['report']}")
    if errors:
        text = f"{len(errors)} of {len(trials)} trials failed; the same command tries them again"
        warnings.warn(text, SweepWarning, stacklevel=2)
    return [_result(trial, errors.get(trial.name)) for trial in trials]


def _make(output: Path) -> None:
    """Create the folder of a sweep, or see that it is one."""
    try:
        held = {path.name for path in output.iterdir()} if output.is_dir() else set()
        if held - {LOCK} and PLAN not in held:
            raise UserError(f"{output} is not empty and no sweep; name another --output")
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"cannot make the folder {output} ({system_reason(error)}); name another --output"
        raise UserError(text) from error


def _plan(output: Path, trials: Sequence[Trial]) -> None:
    """Write down the trials, beside those of an earlier sweep in this folder.

    Raises:
        UserError: a trial of the same name had other flags.
    """
    file = output / PLAN
    known: Any = {}
    if file.is_file():
        try:
            known = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} is damaged; name another --output") from error
    known = known if isinstance(known, dict) else {}
    for trial in trials:
        before = known.setdefault(trial.name, list(trial.flags))
        if before != list(trial.flags):
            had, now = (" ".join(map(str, words)) for words in (before, trial.flags))
            raise UserError(
                f"{output} holds another sweep: its {trial.name} has {had}, not {now}; name "
                "another --output"
            )
    write_atomically(file, (json.dumps(known, indent=2) + "\n").encode())


def _result(trial: Trial, error: str | None) -> dict[str, Any]:
    told = {"trial": trial.name, "run": str(trial.folder), "flags": list(trial.flags)}
    if error is not None:
        return told | {"error": error}
    return told | json.loads(RunFolder(trial.folder).summary.read_text("utf-8"))


# -- where the trials run --------------------------------------------------------------------------


def _side_by_side(
    trials: Sequence[Trial], workers: int, stopped: Callable[[], bool], say: Say
) -> dict[str, str]:
    """Run trials on this machine; return the error of each that failed."""
    places = deque(environments(workers))
    stop = threading.Event()

    def run(trial: Trial) -> str | None:
        place = places.popleft()
        try:
            say(f"{trial.name} begins")
            return run_trial(trial, place, stop.is_set)
        finally:
            places.append(place)

    with ThreadPoolExecutor(workers) as pool:
        try:
            futures = {pool.submit(run, trial): trial for trial in trials}
            return _collected(futures, stopped, say)
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _collected(
    futures: dict[Future[str | None], Trial], stopped: Callable[[], bool], say: Say
) -> dict[str, str]:
    """Wait for trials, and tell of each that ends; return the errors.

    Raises:
        Interrupted: a stop was asked for.
    """
    errors: dict[str, str] = {}
    left = set(futures)
    while left:
        ended, left = wait(left, POLL, FIRST_COMPLETED)
        if stopped():
            raise Interrupted("stopped; what has begun is saved, and the same command goes on")
        for future in ended:
            trial = futures[future]
            if error := _error_of(future):
                errors[trial.name] = error
            count = f"{len(futures) - len(left)} of {len(futures)}"
            say(f"{trial.name} {f'failed: {error}' if error else 'is done'} ({count})")
    return errors


def _error_of(future: Future[str | None]) -> str | None:
    try:
        return future.result()
    except Exception as error:  # Ray's are many; a worker that died is one
        return one_line(error)[:300]


def environments(workers: int) -> list[dict[str, str]]:
    """Return what each of several workers sets: its share of the CPU's cores, and its GPU."""
    if workers == 1:
        return [{}]
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [name for name in given.split(",") if name] if given is not None else _gpus()
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    shares = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": threads}
    return [
        shares | ({"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]} if gpus else {})
        for place in range(workers)
    ]


def _gpus() -> list[str]:
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _on_ray(
    trials: Sequence[Trial], address: str, stopped: Callable[[], bool], say: Say
) -> dict[str, str]:
    """Run trials on a Ray cluster, whose machines see the same folders; as `_side_by_side`."""
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise UserError("--ray needs a package; pip install 'gan-slimming[sweep]'") from error
    trials = [trial.resolved() for trial in trials]
    try:
        _connect(ray, address)
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(run_trial)
        tasks = [task.remote(trial, {}, None) for trial in trials]
        futures = {one.future(): trial for one, trial in zip(tasks, trials, strict=True)}
        try:
            return _collected(futures, stopped, say)
        except Interrupted:
            for one in tasks:
                ray.cancel(one)  # interrupts it, so that its process saves
            wait(futures, STOP_SECONDS)
            raise
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except Exception as error:  # of many kinds, Exception itself among them
        raise UserError(f"no Ray cluster at {address}: {one_line(error)[:200]}") from error
