"""Names of settings in version 0.1."""

from __future__ import annotations

from typing import TypeVar

from gan_slimming.errors import renamed

Settings = TypeVar("Settings")

RENAMED = {"hidden_weight": "feature_distillation_weight"}
"""Setting of version 0.1 -> its name now."""


def taking_old_names(settings: type[Settings]) -> type[Settings]:
    """Let a dataclass of settings take the names of version 0.1."""
    settings.__init__ = renamed(**RENAMED)(settings.__init__)
    return settings
