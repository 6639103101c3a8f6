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

import torch
from command import command_line
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.runtime.openvino_int8 import cpu_flags
from gan_slimming.serialization.provenance import environment

KERNELS, STRIDES, INPUTS, OUTPUTS = (
    range(1, 9),
    range(1, 5),
    (3, 8, 16, 24, 32, 48, 64),
    (3, 16, 32),
)
SIDE = 40
"""Height and width in pixels."""
WRONG = 0.03
"""Relative error that rounding to bfloat16 does not explain."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--inputs", type=int, nargs="+", default=INPUTS, help="channels tried")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    tried = [s for s in product(KERNELS, STRIDES, given.inputs, OUTPUTS) if s[1] <= s[0]]
    wrong = [
        dict(zip(("kernel", "stride", "inputs", "outputs"), shape, strict=True)) | worst
        for shape in tried
        if max((worst := errors(*shape)).values()) > WRONG
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


def errors(kernel: int, stride: int, inputs: int, outputs: int) -> dict[str, float]:
    """Return the relative errors in bfloat16 of a convolution's output and of both gradients."""
    numbers = torch.Generator().manual_seed(0)
    values = torch.randn(1, inputs, SIDE, SIDE, generator=numbers)
    weight = torch.randn(outputs, inputs, kernel, kernel, generator=numbers)
    given = values.contiguous(memory_format=torch.channels_last), weight
    exact, found = (computed(given, stride, kind) for kind in (torch.float32, torch.bfloat16))
    return {
        name: round(float((a - b).norm() / a.norm()), 3)
        for name, a, b in zip(("output", "of_values", "of_weight"), exact, found, strict=True)
    }


def computed(given: tuple[Tensor, Tensor], stride: int, kind: torch.dtype) -> list[Tensor]:
    """Return a convolution's output and the gradients for random slopes, in float32."""
    values, weight = (x.to(kind).requires_grad_() for x in given)
    made = F.conv2d(values, weight, stride=stride)
    slopes = torch.randn(made.shape, generator=torch.Generator().manual_seed(1)).to(kind)
    return [
        x.detach().float() for x in (made, *torch.autograd.grad(made, (values, weight), slopes))
    ]


if __name__ == "__main__":
    main()
