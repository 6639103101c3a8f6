"""From a student to a file that a stock runtime executes; called, it exports.

`gan_slimming.export` names this package and the function alike: `gs.export(model, "small.onnx")`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that is called like its entry function."""

    def __call__(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Write a generator for a runtime; see `export_model`."""
        from gan_slimming.export.export_model import export_model

        return export_model(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
