"""Measure the memory and time of evaluate on many small images.

    python benchmarks/many_images.py --made made/ --real real/ --output results/evaluate/many.json

Both folders hold images of the same names, such as the test set of CIFAR-10 and the same images as
JPEG of quality 20. They are compared one by one and as sets, without cached features. The record
holds the memory of the whole process at its peak. Weights are read from GAN_SLIMMING_WEIGHTS.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from command import command_line

import gan_slimming as gs
from gan_slimming.serialization.provenance import environment

METRICS = (
    "lpips,psnr,ssim,l1,colour,dots,"
    "frechet_squeezenet,kid_squeezenet,precision_squeezenet,recall_squeezenet"
)
KIB_PER_GIB = 2**20


def main() -> None:
    given = parser().parse_args()
    calls: list[int] = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        started, used = time.monotonic(), time.process_time()
        report = gs.evaluate(
            given.made, given.real, teacher=given.real, targets=given.real,
            metrics=given.metrics.split(","), on_progress=lambda done, total: calls.append(done),
        )  # fmt: skip
    record = {
        "command": command_line(),
        "images": report["images"],
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_GIB, 3),
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(time.process_time() - used, 1),
        "progress_calls": len(calls),
        "results": report["results"],
        "environment": environment(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=2)
    for folder in (given.made, given.real):  # by their names: where they lay says nothing
        text = text.replace(str(folder), folder.name)
    given.output.write_text(text + "\n")
    print(json.dumps({k: v for k, v in record.items() if k not in ("results", "environment")}))


def parser() -> argparse.ArgumentParser:
    """Return the flags."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--made", type=Path, required=True, help="folder of images under test")
    made.add_argument("--real", type=Path, required=True, help="folder of the originals")
    made.add_argument("--metrics", default=METRICS, help="names between commas")
    made.add_argument("--output", type=Path, required=True, help="the record, .json")
    return made


if __name__ == "__main__":
    main()
