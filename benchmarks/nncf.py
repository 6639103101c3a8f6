"""Compare our quantisers with NNCF's post-training quantisation, in OpenVINO.

    pip install nncf
    python benchmarks/nncf.py --teacher cartoongan:Hayao_net_G_float.pth --student runs/hayao \\
        --photos photos/ --output nncf.json

dense    the teacher, quantised by us (quantisers calibrated, nothing trained) and by NNCF, with
         equal weights and calibration photos: latency
slim     the student with its trained quantisers, and NNCF's quantisation of the slim float
         network: latency, and LPIPS to the teacher on held-out photos

The slim float network is --float-student, trained with `--bits none`. Without it, the student's own
weights on their grid are taken, as noted under 'slim_float'.

On a CPU whose int8 sums saturate, NNCF halves the range of weights, its own option for such CPUs
('nncf_halves_weights'). OpenVINO would compute wrong results otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import InputContract
from gan_slimming.data.adapter import from_contract, to_contract
from gan_slimming.data.folder import open_folder
from gan_slimming.errors import UserError
from gan_slimming.export.convert import convert
from gan_slimming.models.registry import attach_spec, spec_of
from gan_slimming.perceptual.lpips import Lpips, load_lpips
from gan_slimming.runtime.latency import measure
from gan_slimming.runtime.openvino_int8 import saturates
from gan_slimming.runtime.sessions import open_runtime
from gan_slimming.serialization.provenance import environment
from gan_slimming.serialization.resolve import resolve_model

FORMS = ("f32", "ours", "nncf")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--student", nargs="+", required=True)
    parser.add_argument("--float-student", nargs="*", default=[], help="one for each student")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--holdout", type=int, default=120, help="as in the student's training")
    parser.add_argument("--count", type=int, default=60, help="number of held-out photos to judge")
    parser.add_argument("--calibration", type=int, default=100)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    here = Path(__file__).parent  # or 'import nncf' would find this file
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here.resolve()]
    if find_spec("nncf") is None:
        raise SystemExit("nncf is not installed; pip install nncf")
    try:
        report = compare(given)
    except UserError as error:
        raise SystemExit(str(error)) from error
    text = json.dumps(report, indent=2)
    if given.output:
        given.output.write_text(text + "\n")
    print(text)


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """Return the latency, in one run, and LPIPS of every network in every form."""
    lpips = load_lpips()  # first, because it fails without its weights
    teacher = resolve_model(given.teacher).eval()
    contract = spec_of(teacher).contract
    training, held = open_folder(given.photos, given.size, holdout=given.holdout)
    calibration = [
        to_contract(rgb, contract) for rgb in images(training, given.calibration)
    ]  # in the generator's own convention, as both take them
    judged = references(teacher, images(held, given.count))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = write(quantised(teacher, calibration), teacher, calibration, Path(folder, "dense"))
        nets = {"dense": files}
        for number, name in enumerate(given.student):
            student = resolve_model(name).eval()
            plain = given.float_student[number] if given.float_student else None
            place = Path(folder, f"slim-{number}")
            base = resolve_model(plain).eval() if plain else student
            nets[name] = write(student, base, calibration, place)
        jobs = [(str(nets[net][form]), given.threads, given.size) for net in nets for form in FORMS]
        times = iter(measure(jobs, load, rounds=given.rounds))
        for net, forms in nets.items():
            for form in FORMS:
                latency, told = next(times)
                near = mean_lpips(forms[form], lpips, contract, judged, given.threads)
                row = {"net": net, "form": form, "latency_ms": latency.median_ms}
                row |= {"best_ms": latency.best_ms, "spread": latency.spread_ms, "lpips": near}
                rows.append(row | told)
    versions = {name: version(name) for name in ("nncf", "openvino")}
    slim_float = given.float_student or "the students' own weights, on their grid"
    return {"size": given.size, "threads": given.threads, "calibration": len(calibration),
            "judged": len(judged), "slim_float": slim_float, "measurements": rows,
            "nncf_halves_weights": saturates(),
            "runtimes": versions, "environment": environment()}  # fmt: skip


def images(chosen: Any, count: int) -> list[Tensor]:
    """Return the first `count` images of a set, (1, 3, size, size) RGB in [-1, 1] each."""
    still = torch.zeros(1, dtype=torch.bool)
    return [chosen.images(torch.tensor([i]), still) for i in range(min(count, len(chosen)))]


def quantised(teacher: nn.Module, calibration: list[Tensor]) -> nn.Module:
    """Return the dense teacher with our quantisers, calibrated but neither cut nor trained."""
    prepared = gs.prepare(teacher, (calibration[0],))
    gs.calibrate(prepared, [(image,) for image in calibration[:8]])
    small = gs.extract(prepared)
    attach_spec(small, spec_of(teacher))
    return small


def write(
    ours: nn.Module, plain: nn.Module, calibration: list[Tensor], folder: Path
) -> dict[str, Path]:
    """Write the float network, our int8, and NNCF's int8 of the float one; return form -> file."""
    import openvino

    nncf: Any = import_module("nncf")
    folder.mkdir()
    files = {form: folder / f"{form}.onnx" for form in ("f32", "ours")}
    files["nncf"] = folder / "nncf.xml"
    files["f32"].write_bytes(convert(plain, quantization="none", runtimes=()).content)
    files["ours"].write_bytes(convert(ours, quantization="qdq", runtimes=()).content)
    model = openvino.Core().read_model(files["f32"])
    inputs = nncf.Dataset([image.numpy() for image in calibration])
    # MIXED quantises signed inputs as signed, like ours.
    made = nncf.quantize(
        model,
        inputs,
        subset_size=len(calibration),
        preset=nncf.QuantizationPreset.MIXED,
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=overflow_fix()),
    )
    openvino.save_model(made, files["nncf"], compress_to_fp16=False)
    return files


def overflow_fix() -> Any:
    """Return NNCF's overflow option for this CPU."""
    kinds = import_module("nncf.quantization.advanced_parameters").OverflowFix
    return kinds.ENABLE if saturates() else kinds.DISABLE


def load(job: tuple[str, int, int]) -> tuple[Callable[[], Any], Callable[[], dict[str, Any]]]:
    """Return the run and the report of a file, for a process of its own."""
    path, threads, size = job
    opened = open_runtime(path, "openvino", threads)
    image = np.random.default_rng(0).random((1, 3, size, size), np.float32) * 2 - 1
    return lambda: opened(image), lambda: {"size_bytes": opened.size_bytes}


@torch.inference_mode()
def references(teacher: nn.Module, photos: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return (photo, dense float teacher's image) pairs, RGB in [-1, 1]."""
    contract = spec_of(teacher).contract
    return [(rgb, from_contract(teacher(to_contract(rgb, contract)), contract)) for rgb in photos]


@torch.inference_mode()
def mean_lpips(
    file: Path,
    lpips: Lpips,
    contract: InputContract,
    judged: list[tuple[Tensor, Tensor]],
    threads: int,
) -> float:
    """Return the mean LPIPS-squeeze to the teacher's images."""
    opened, total = open_runtime(file, "openvino", threads), 0.0
    for rgb, expected in judged:
        made = torch.from_numpy(opened(to_contract(rgb, contract).numpy()))
        total += float(lpips(from_contract(made, contract), expected))
    return total / len(judged)


if __name__ == "__main__":
    main()
