"""Compress the teachers of docs/fidelity.md in runs of full length, on a GPU where there is one.

    python benchmarks/full_length.py --data data/ --output full_length/ --minutes 60 --stop-after 9

Needs the package, torch and a folder with weights and photos. Each teacher gets one run of
`compress`; its folder lies in OUTPUT/runs. Started again, the script goes on where it stopped:
finished teachers are kept, a run under way continues from its checkpoint. What is worth keeping
lies in OUTPUT/results, 64 MiB at most: for each teacher the record, the student, the distances of
every held-out image and 12 samples. The last line on stdout is a JSON object of what is done, what
failed and why, and what is left.

Weights are looked for under --data as in benchmarks/fidelity.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fidelity import command_line, parse_variant
from fidelity_teachers import TEACHERS, Teacher, weights_of

import gan_slimming as gs
from gan_slimming.data.files import write_atomically
from gan_slimming.models.registry import spec_of
from gan_slimming.serialization.provenance import environment
from gan_slimming.serialization.run_folder import RunFolder

HELD_OUT = 60
"""Images, or noise vectors, that judge a student."""
MOST_BYTES = 64 * 2**20
"""Largest size of all results together."""


@dataclass(frozen=True)
class Places:
    """Where a teacher's run and its results lie."""

    run: RunFolder
    results: Path

    @property
    def record(self) -> Path:
        """The record, which marks a teacher as done."""
        return self.results / "record.json"


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    given = parser().parse_args(arguments)
    os.environ["GAN_SLIMMING_DATA"] = str(given.data.absolute())  # LPIPS' weights are there, too
    if given.stop_after is not None:
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 60 * given.stop_after)
    told: dict[str, Any] = {"done": {}, "failed": {}, "left": list(given.teachers)}
    try:
        for name in given.teachers:
            try:
                told["done"][name] = one_teacher(name, given)
            except (FileNotFoundError, gs.UserError) as error:
                told["failed"][name] = str(error)
            told["left"].remove(name)
    except (gs.Interrupted, KeyboardInterrupt) as stop:
        print(f"{stop}; start the script again to go on", file=sys.stderr)
    finally:
        if given.stop_after is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
    print(json.dumps(told))
    return told


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's flags."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--data", type=Path, required=True, help="folder of weights and photos")
    made.add_argument("--photos", type=Path, help="default: photos256 in --data")
    made.add_argument("--output", type=Path, required=True)
    made.add_argument("--teachers", type=names, default=list(TEACHERS), help="hayao,mosaic,...")
    length = made.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="of training, for each teacher")
    length.add_argument("--steps", type=int, help="of training instead")
    made.add_argument("--stop-after", type=float, help="minutes after which to save and end")
    made.add_argument("--macs", default="0.05")
    made.add_argument("--settings", default="", help="such as optimisation.batch_size=8,seed=1")
    made.add_argument("--device", default="auto")
    return made


def names(text: str) -> list[str]:
    """Return the teachers of a comma-separated list."""
    found = text.split(",")
    if unknown := [name for name in found if name not in TEACHERS]:
        raise argparse.ArgumentTypeError(f"no {unknown[0]}; take {', '.join(TEACHERS)}")
    return found


def one_teacher(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return the record of a teacher's run: made before, or now.

    Raises:
        FileNotFoundError: its weights are not under --data.
        Interrupted: the time is up; the run is saved.
    """
    places = Places(RunFolder(given.output / "runs" / name), given.output / "results" / name)
    if places.record.is_file():
        return json.loads(places.record.read_text())
    print(f"{name}: {'goes on' if places.run.checkpoint.is_file() else 'begins'}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as temporary:
        summary = train(TEACHERS[name], given, places.run, Path(temporary))
    keep(places)
    record = {
        "teacher": name,
        "command": command_line(),
        "minutes": given.minutes,
        **summary,
        "settings": dataclasses.asdict(places.run.read_config()[0]),
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        "environment": environment(),
    }
    for path in ("generator", "report"):  # of this machine
        record.pop(path)
    write_atomically(places.record, (json.dumps(record, indent=2) + "\n").encode())
    check_size(places.results.parent)
    return json.loads(places.record.read_text())


def train(
    known: Teacher, given: argparse.Namespace, folder: RunFolder, temporary: Path
) -> dict[str, Any]:
    """Run `compress`, or go on with it; return its summary."""
    if not any(given.data.glob(known.weights)):
        raise FileNotFoundError(f"no {known.weights} under --data")
    teacher = gs.load_generator(known.generator, weights_of(known, None, temporary))
    noise = spec_of(teacher).contract.latent_size > 0
    photos = None if noise else given.photos or given.data / "photos256"
    resume = folder.checkpoint.is_file()
    done = gs.compress(
        teacher, photos, folder.path, run_of(given), resume=resume,
        overwrite=not resume and folder.config.is_file(), on_step=tell,
    )  # fmt: skip
    return done.summary


def run_of(given: argparse.Namespace) -> gs.Run:
    """Return the settings: the defaults, the length, and the changes of --settings."""
    changes = parse_variant(f"full:{given.settings}").settings
    length = {"steps": given.steps} if given.steps else {"minutes": given.minutes}
    return gs.Run(
        budget=gs.Budget(macs=given.macs),
        objective=gs.Objective(**changes.pop("objective", {})),
        optimisation=gs.Optimisation(**length, **changes.pop("optimisation", {})),
        **{"holdout": HELD_OUT, "device": given.device, **changes},
    )


def tell(step: int, steps: int, terms: dict[str, float]) -> None:
    """Print a line for every hundredth step."""
    if step % 100 == 0:
        print(f"step {step} of {steps}: {terms['total']:.4f}", file=sys.stderr, flush=True)


def keep(places: Places) -> None:
    """Copy a finished run's small files to the results."""
    shutil.rmtree(places.results, ignore_errors=True)
    places.results.mkdir(parents=True)
    run = places.run
    for file in (run.generator, run.held_out, run.metrics):
        shutil.copy(file, places.results)
    shutil.copytree(run.samples, places.results / "samples")


def check_size(results: Path) -> None:
    """End the script where the results have grown too large."""
    size = sum(file.stat().st_size for file in results.rglob("*") if file.is_file())
    if size > MOST_BYTES:
        raise SystemExit(f"{results} holds {size:,} bytes, more than {MOST_BYTES:,}")


if __name__ == "__main__":
    main()
