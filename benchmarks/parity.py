"""Check end to end that an exported student makes the same images as in torch.

    python benchmarks/parity.py runs/hayao --photos photos/ --output parity.json

Each photo runs through torch with fake quantisers, and through OpenVINO and ONNX Runtime in int8.
Sizes are ones that export never used, one of them not square. For each size and runtime it reports
LPIPS between torch's image and the runtime's (mean and worst; the aim is at most 0.005), and the
share of 8-bit values more than one level apart. The same figures for torch in float64 show the
effect of float32 rounding alone.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.image_files import list_images, read_image
from gan_slimming.export.placement import in_runtime
from gan_slimming.models import spec_of
from gan_slimming.perceptual.lpips import Lpips, load_lpips
from gan_slimming.runtime.sessions import RUNTIMES
from gan_slimming.serialization.provenance import environment
from gan_slimming.serialization.resolve import resolve_model

SIZES = "256x256,200x328,320x320"
"""Height x width in pixels. Export traces at 64 and a few pixels more."""
AIM = 0.005
BFLOAT16 = ("openvino", "bf16", " with bf16 for the float rest")
EXACT = "torch in float64"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--count", type=int, default=16, help="photos, evenly from the folder")
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--generator", help="package.module:factory of a generator of your own")
    parser.add_argument("--output", type=Path, help="a JSON file, in addition to stdout")
    given = parser.parse_args()
    paths = list_images([given.photos])
    paths = paths[:: max(1, len(paths) // given.count)][: given.count]
    sizes = [tuple(map(int, size.split("x"))) for size in given.sizes.split(",")]
    rows = [
        row
        for model in given.models
        for row in compare(model, paths, sizes, given.threads, given.generator)
    ]
    versions = {name: version(name) for name in RUNTIMES}
    report = {"photos": len(paths), "aim_lpips": AIM, "measurements": rows, "runtimes": versions,
              "environment": environment()}  # fmt: skip
    text = json.dumps(report, indent=2)
    if given.output:
        given.output.write_text(text + "\n")
    print(text)


def compare(
    model: str, paths: Sequence[Path], sizes: Sequence[tuple[int, ...]], threads: int | None,
    factory: str | None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return one row for each size and runtime."""
    module = resolve_model(model, factory=factory).eval()
    contract = spec_of(module).contract
    reference = GeneratorAdapter(module, contract)
    exact = GeneratorAdapter(copy.deepcopy(module).double(), contract)
    others: dict[str, Callable[[Tensor], Tensor]] = {
        name + suffix: GeneratorAdapter(in_runtime(module, name, threads, precision), contract)
        for name, precision, suffix in ((*((r, "f32", "") for r in RUNTIMES), BFLOAT16))
    }
    others[EXACT] = lambda image: exact(image.double()).float()
    lpips, rows = load_lpips(), []
    for size in sizes:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in others}
        for path in paths:
            image = F.interpolate(read_image(path).rgb[None], size, mode="bilinear", antialias=True)
            with torch.inference_mode():
                expected = reference(image)
                for name, generator in others.items():
                    found[name].append(distances(generator(image), expected, lpips))
        for name, seen in found.items():
            row = {"model": model, "runtime": name, "height": size[0], "width": size[1]}
            row["lpips"] = sum(s["lpips"] for s in seen) / len(seen)
            row["lpips_worst"] = max(s["lpips"] for s in seen)
            row["beyond_one_level"] = sum(s["beyond"] for s in seen) / len(seen)
            row["levels_worst"] = max(s["levels"] for s in seen)
            rows.append(row)
    return rows


def distances(made: Tensor, expected: Tensor, lpips: Lpips) -> dict[str, float]:
    """Return LPIPS, the share of 8-bit values over a level apart, and the largest difference."""
    eight = [((x.clamp(-1, 1) + 1) * 127.5).round() for x in (made, expected)]
    apart = (eight[0] - eight[1]).abs()
    return {
        "lpips": float(lpips(made, expected)),
        "beyond": float((apart > 1).float().mean()),
        "levels": float(apart.max()),
    }


if __name__ == "__main__":
    main()
