"""The export of a student to a file that a stock runtime executes.

`gan_slimming.export` is a package and a function at once: `gs.export(model, "small.onnx")`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that can be called like its entry function."""

    def __call__(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Export a generator to a file for a runtime; see `export_model`."""
        from gan_slimming.export.export_model import export_model

        return export_model(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
