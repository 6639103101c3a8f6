"""Measure the peak memory of compress: CartoonGAN (11 M), 256x256, batch 4, three steps.

    python benchmarks/memory.py --weights Hayao.pth --photos photos/ --output runs/memory

Two steps slim the dense network, where memory peaks, and one recovers. A long run also holds its
images (196,608 bytes each) and up to 2 GiB of cached teacher outputs.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path

import gan_slimming as gs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--precision", choices=["bf16-mixed", "32-true"], default="bf16-mixed",
                        help="bf16-mixed is very slow on a CPU without bf16")  # fmt: skip
    arguments = parser.parse_args()
    settings = gs.Optimisation(steps=3, slim_share=0.6, batch_size=4, half_size_share=0.0)
    gs.compress(
        gs.load_generator("cartoongan", arguments.weights),
        arguments.photos,
        arguments.output,
        gs.Run(budget=gs.Budget(macs=0.05), optimisation=settings, holdout=2),
        precision=arguments.precision,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak resident memory {peak / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
