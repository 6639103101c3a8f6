"""Open random and registered generators in int8 as on every kind of CPU that this one can show.

    python -m tests.property.int8_everywhere --nets 300
    python -m tests.property.int8_everywhere --nets 30 --runtime onnxruntime \\
        --launcher "qemu-x86_64 -cpu Haswell"

The files and torch's images are made once. A process for each kind of CPU then opens every file,
which checks its layers, and compares images. ONNX Runtime knows no kinds: its process may run under
an emulator. Prints a line for each kind, and ends with 1 if an image is wrong.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

FORMS = {"openvino": "qdq", "onnxruntime": "integer"}
WIDE = 40
"""So many of the random generators are also made with 8-bit weights; the others have 7 alone."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nets", type=int, default=300, help="random generators (default 300)")
    parser.add_argument("--folder", type=Path, help="where the files are made, once, and kept")
    parser.add_argument("--runtime", choices=FORMS, default="openvino")
    parser.add_argument("--launcher", default="", help="what Python runs under to open the files")
    parser.add_argument("--open", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        files = sorted(options.folder.glob(f"*{FORMS[options.runtime]}.onnx"))
        print(json.dumps([opened(file, options.runtime) for file in files]))
        return 0
    from gan_slimming.runtime.openvino_int8 import kinds_of_cpu

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, student, inputs in [*registered_students(), *random_students(options.nets)]:
            write(folder, name, student, inputs, FORMS[options.runtime])
        command = [*options.launcher.split(), sys.executable, "-m", __spec__.name, "--open"]
        command += ["--folder", str(folder), "--runtime", options.runtime]
        kinds = ["", *(kinds_of_cpu() if options.runtime == "openvino" else [])]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            wrong = list(pool.map(lambda kind: report(kind, command), kinds))
    return int(any(wrong))


def random_students(count: int) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield random generators, two thirds of their channels left, with 7 or 8 bits."""
    from tests.property.foreign_nets import inputs_of
    from tests.property.test_foreign_export import OneStyle
    from tests.property.test_foreign_nets import random_teacher

    for seed in range(count):
        teacher = OneStyle(random_teacher(seed)).float()
        yield f"random{seed}", teacher, (inputs_of("image", 16, 1, 4)[0].float(),)


def registered_students() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield every registered generator, narrow, with random weights."""
    from tests.property.test_registered import contract_of, example, teacher_of

    from gan_slimming.models.registry import registered

    for name in registered():
        yield (
            name,
            copy.deepcopy(teacher_of(name)).float(),
            (example(contract_of(name), 2).float(),),
        )


def write(folder: Path, name: str, teacher: Any, inputs: tuple[Any, ...], form: Any) -> None:
    """Write a student's file, an input, torch's image of it and of one that is nudged."""
    import torch

    from gan_slimming.config import InputContract
    from gan_slimming.export.content import metadata_of
    from gan_slimming.export.onnx import onnx_model
    from gan_slimming.export.trace.graph import trace
    from gan_slimming.models.registry import spec_of
    from gan_slimming.runtime.flips import nudged
    from gan_slimming.student.student import calibrate, prepare
    from gan_slimming.student.surgery import extract

    random = name.startswith("random")
    seed = int(name.removeprefix("random")) if random else 0
    for bits in (7, 8) if random and seed < WIDE else (7,):
        outputs = random and seed % 2 == 0
        path = folder / f"{name}-{bits}-{form}.onnx"
        if path.exists():
            continue
        contract = InputContract(multiple_of=4) if random else spec_of(teacher).contract
        student = prepare(
            teacher, tuple(x[:1] for x in inputs), weight_bits=bits, quantize_outputs=outputs
        )
        calibrate(student, [inputs])
        for gate in student.gates if random else ():
            gate.data[1::3] = 0.0
        small = extract(student)
        side = 16 if random else inputs[0].shape[-1]
        traced = trace(small, contract, side, quantized=True)
        content, _ = onnx_model(traced, form, 17, metadata_of(contract, form, name, {}))
        first = inputs[0][:2]
        with torch.no_grad():
            images = small(first).numpy(), small(torch.from_numpy(nudged(first.numpy()))).numpy()
        np.savez(path.with_suffix(".npz"), given=first.numpy(), image=images[0], moved=images[1])
        path.write_bytes(content.SerializeToString())


def opened(file: Path, runtime: str) -> dict[str, Any]:
    """Open a file, and compare its image with torch's.

    A value on the border of two codes goes to either side. Where that shows, OpenVINO in float on
    the same grids has to agree instead.
    """
    from gan_slimming.runtime.flips import only_flips
    from gan_slimming.runtime.sessions import open_runtime, start_openvino

    with np.load(file.with_suffix(".npz")) as held, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = open_runtime(file, runtime, 1)
        image, given = model(held["given"]), held["given"]
        right = only_flips(image, held["image"], held["moved"])
        if not right and runtime == "openvino":
            exact = start_openvino(file, 1, kernels="float").run(given)
            right = only_flips(image, exact, exact)
    told = {"file": file.stem, "right": right, "wrong_kernels": len(model.float_layers)}
    return {**told, **(_counts(file, model.native) if runtime == "openvino" else {})}


def _counts(file: Path, request: Any) -> dict[str, int]:
    """Return how many layers are quantised, and how many run in int8."""
    from gan_slimming.runtime.openvino_int8 import quantized_layers, read_model
    from gan_slimming.runtime.profiling import executed_layers

    in_int8 = sum(layer.computes and layer.int8 for layer in executed_layers(request))
    return {"quantized": len(quantized_layers(read_model(file))), "int8": in_int8}


def report(kind: str, command: list[str]) -> int:
    """Open all files as on a kind of CPU, "" for this one. Returns how many images are wrong."""
    from gan_slimming.runtime.openvino_int8 import ISA_LIMIT

    limit = {ISA_LIMIT: kind} if kind else {}
    done = subprocess.run(
        command, env={**os.environ, **limit}, capture_output=True, text=True, check=False
    )
    name = kind or "this CPU"
    if done.returncode:
        print(f"{name}: {done.stderr[-500:]}", flush=True)
        return 1
    rows = json.loads(done.stdout.splitlines()[-1])
    for bits in ("7", "8"):
        chosen = [row for row in rows if f"-{bits}-" in row["file"] and "int8" in row]
        if chosen:
            share = sum(row["int8"] for row in chosen) / sum(row["quantized"] for row in chosen)
            wrong = sum(row["wrong_kernels"] > 0 for row in chosen)
            print(
                f"{name}, {bits}-bit weights: {len(chosen)} generators, {share:.1%} of quantised "
                f"layers in int8, {wrong} with layers that int8 kernels get wrong",
                flush=True,
            )
    wrong = [row["file"] for row in rows if not row["right"]]
    print(f"{name}: {len(rows)} files, {len(wrong)} wrong images {' '.join(wrong)}", flush=True)
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
