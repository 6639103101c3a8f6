"""All settings, checked when they are made. Imports no torch, so that --help is quick."""

from gan_slimming.config.contract import ExtraInput, InputContract
from gan_slimming.config.presets import PAPER
from gan_slimming.config.settings import (
    PORTABLE_WEIGHT_BITS,
    RENAMED,
    Budget,
    Objective,
    Optimisation,
    Run,
    bits_of_weights,
    parse_amount,
)

__all__ = [
    "PAPER",
    "PORTABLE_WEIGHT_BITS",
    "RENAMED",
    "Budget",
    "ExtraInput",
    "InputContract",
    "Objective",
    "Optimisation",
    "Run",
    "bits_of_weights",
    "parse_amount",
]
