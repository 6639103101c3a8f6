"""A runtime's refusals are told in one line."""

from __future__ import annotations

import numpy as np
import pytest

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.runtime.runtime_model import RuntimeModel


def test_what_a_runtime_refuses_while_it_runs_is_one_line() -> None:
    def run(*inputs: np.ndarray) -> np.ndarray:
        raise failure

    model = RuntimeModel("onnxruntime", 1, InputContract(), {}, 0, run, None)
    failure: Exception = RuntimeError("Pad node\nfailed")
    image = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(UserError, match=r"onnxruntime cannot run .* 1x3x8x8 \(Pad node failed\)"):
        model(image)
    failure = MemoryError()
    with pytest.raises(MemoryError):
        model(image)
