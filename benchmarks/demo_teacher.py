"""Make the demo's teacher: the released CartoonGAN (Hayao), slimmed to 15 % of its MACs in float.

    python benchmarks/demo_teacher.py --weights Hayao_net_G_float.pth --photos photos/ \
        --output results/demo-teacher

benchmarks/ship_model.py makes it the shipped model cartoon_small.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gan_slimming as gs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=700)
    arguments = parser.parse_args()
    done = gs.compress(
        gs.load_generator("cartoongan", arguments.weights),
        arguments.photos,
        arguments.output,
        gs.Run(
            budget=gs.Budget(macs=0.15),
            optimisation=gs.Optimisation(steps=arguments.steps),
            bits=None,
            holdout=32,
        ),
        on_step=lambda step, total, terms: (
            print(step, total, terms, flush=True) if step % 50 == 0 or "psnr" in terms else None
        ),
    )
    print(json.dumps(done.summary))


if __name__ == "__main__":
    main()
