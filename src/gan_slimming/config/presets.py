"""Named collections of settings."""

from __future__ import annotations

from typing import Any

PAPER: dict[str, Any] = {
    "weight_bits": 8,
    "objective": {
        "adversarial": "lsgan",
        "adversarial_weight": 1.0,
        "distill": "paper",
        "distill_weight": 20.0,
        "pixel_weight": 0.0,
        "colour_weight": 0.0,
        "lattice_weight": 0.0,
        "feature_distillation_weight": 0.0,
        "upsample_to": 256,
    },
    "optimisation": {
        "batch_size": 8,
        "half_size_share": 0.0,
        "draws_per_answer": None,
        "slim_share": 0.5,
        "optimizer": "adam",
        "lr": 1e-5,
        "recover_lr": 1e-4,
        "warmup": 0,
        "weight_decay": 1e-3,
        "gate_lr": 0.1,
        "gate_momentum": 0.5,
        "discriminator_lr": 1e-5,
        "discriminator_width": 64,
        "ema": 0.0,
        "gate_start": "one",
        "floor": 0.0,
        "block_share": 1.0,
    },
}
"""Released hyperparameters of Wang et al. 2020, where they differ from the defaults."""
