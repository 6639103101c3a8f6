"""Dropout that a forward calls as a function, and that eval() therefore does not switch off."""

from __future__ import annotations

import inspect
from typing import Any

from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

DROPS = (
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
)  # fmt: skip
SIGNATURES = {function: inspect.signature(function) for function in DROPS}


class WithoutDropout(TorchFunctionMode):
    """A mode in which dropout changes nothing, and `found` says whether it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in SIGNATURES:
            given = SIGNATURES[func].bind(*args, **kwargs)
            given.apply_defaults()
            self.found |= bool(given.arguments["training"]) and given.arguments["p"] > 0
            return given.arguments["input"]
        if func is F.scaled_dot_product_attention and kwargs.get("dropout_p"):
            self.found = True
            kwargs = kwargs | {"dropout_p": 0.0}
        return func(*args, **kwargs)
