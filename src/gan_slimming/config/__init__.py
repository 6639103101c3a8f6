"""All settings, checked when they are made. Imports no torch, so that --help is quick."""

from gan_slimming.config.bits import NARROW_BITS, PORTABLE_WEIGHT_BITS, bits_of_weights
from gan_slimming.config.checks import check_numbers
from gan_slimming.config.contract import ExtraInput, InputContract
from gan_slimming.config.exports import EXPORTS, check_exports
from gan_slimming.config.goals import Budget, Target, parse_amount
from gan_slimming.config.memory import Memory
from gan_slimming.config.named import Named
from gan_slimming.config.objective import Objective
from gan_slimming.config.old_names import RENAMED
from gan_slimming.config.optimisation import Optimisation
from gan_slimming.config.presets import PAPER
from gan_slimming.config.settings import Run
from gan_slimming.config.weights_file import WeightsFile

__all__ = [
    "EXPORTS",
    "NARROW_BITS",
    "PAPER",
    "PORTABLE_WEIGHT_BITS",
    "RENAMED",
    "Budget",
    "ExtraInput",
    "InputContract",
    "Memory",
    "Named",
    "Objective",
    "Optimisation",
    "Run",
    "Target",
    "WeightsFile",
    "bits_of_weights",
    "check_exports",
    "check_numbers",
    "parse_amount",
]
