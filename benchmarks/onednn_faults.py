"""Show which convolutions oneDNN computes wrongly in bfloat16 on this CPU.

    python benchmarks/onednn_faults.py --output results/onednn.json

Kernels, strides and channels as students have them: each output and both gradients beside those in
float32. On a CPU with AMX, outputs are wrong for kernels of width 4 or 8 at some strides and few
inputs, while gradients are right; so a generator would train on images that it does not draw.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

from command import command_line

from gan_slimming.runtime.openvino_int8 import cpu_flags
from gan_slimming.serialization.provenance import environment
from gan_slimming.training.bfloat16 import WRONG, errors

KERNELS, STRIDES, INPUTS, OUTPUTS = (
    range(1, 9),
    range(1, 5),
    (3, 8, 16, 24, 32, 48, 64),
    (3, 16, 32),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--inputs", type=int, nargs="+", default=INPUTS, help="channels tried")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    tried = [s for s in product(KERNELS, STRIDES, given.inputs, OUTPUTS) if s[1] <= s[0]]
    wrong = [
        dict(zip(("kernel", "stride", "inputs", "outputs"), shape, strict=True))
        | {name: round(error, 3) for name, error in found.items()}
        for shape in tried
        if max((found := errors_of(*shape)).values()) > WRONG
    ]
    record = {
        "tried": len(tried),
        "wrong": len(wrong),
        "shapes": wrong,
        "amx": "amx_bf16" in cpu_flags().split(),
        "command": command_line(),
        "environment": environment(),
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps({key: record[key] for key in ("tried", "wrong", "amx")}))


def errors_of(kernel: int, stride: int, inputs: int, outputs: int) -> dict[str, float]:
    """Return the relative errors in bfloat16 of a square convolution and of its gradients."""
    return errors((kernel, kernel), (stride, stride), inputs, outputs)


if __name__ == "__main__":
    main()
