"""All settings, checked when they are made. Imports no torch, so that --help is quick."""

from gan_slimming.config.budget import Budget, parse_amount
from gan_slimming.config.contract import InputContract
from gan_slimming.config.presets import PAPER
from gan_slimming.config.settings import (
    PORTABLE_WEIGHT_BITS,
    RENAMED,
    Objective,
    Optimisation,
    Run,
    bits_of_weights,
)

__all__ = [
    "PAPER",
    "PORTABLE_WEIGHT_BITS",
    "RENAMED",
    "Budget",
    "InputContract",
    "Objective",
    "Optimisation",
    "Run",
    "bits_of_weights",
    "parse_amount",
]
