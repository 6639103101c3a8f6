"""The operators of ML programs in torch, as Core ML's documents define them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gan_slimming.errors import UserError
from gan_slimming.export.mil.evaluate import OPERATORS, evaluate


def test_codes_saturate_and_scales_go_along_an_axis() -> None:
    values = torch.tensor([[-9.0, 0.24], [0.26, 99.0]])
    given: dict[str, Any] = {"input": values, "scale": 0.5, "output_dtype": "uint8"}
    assert OPERATORS["quantize"](given).tolist() == [[0, 0], [1, 198]]
    scales = torch.tensor([1.0, 0.5])
    given = {"input": values, "scale": scales, "axis": 1, "output_dtype": "int8"}
    codes = OPERATORS["quantize"](given)
    assert codes.tolist() == [[-9, 0], [0, 127]]
    back = OPERATORS["dequantize"]({"input": codes, "scale": scales, "axis": 1})
    assert back.tolist() == [[-9, 0], [0, 63.5]]


@pytest.mark.parametrize(("kernel", "padding", "extra"), [(3, 1, 1), (4, 1, 0), (3, 0, 0)])
def test_a_transposed_convolution_is_cut_to_its_shape(
    kernel: int, padding: int, extra: int
) -> None:
    torch.manual_seed(0)
    values, weight = torch.randn(1, 2, 5, 4), torch.randn(2, 3, kernel, kernel)
    expected = F.conv_transpose2d(values, weight, stride=2, padding=padding, output_padding=extra)
    made = OPERATORS["conv_transpose"]({
        "x": values, "weight": weight, "strides": [2, 2], "dilations": [1, 1], "groups": 1,
        "pad": [padding] * 4, "output_shape": list(expected.shape),
    })  # fmt: skip
    assert torch.allclose(made, expected, atol=1e-6)


def _value(name: str, value: object = None) -> SimpleNamespace:
    return SimpleNamespace(name=name, val=value)


def test_a_program_is_computed_and_strange_operators_are_refused() -> None:
    half = _value("half", np.float16(0.5))
    source, result = _value("input"), _value("result")
    operators = [
        SimpleNamespace(op_type="const", inputs={}, outputs=[half]),
        SimpleNamespace(op_type="mul", inputs={"x": source, "y": half}, outputs=[result]),
    ]
    function = SimpleNamespace(inputs={"input": source}, operations=operators, outputs=[result])
    program = SimpleNamespace(functions={"main": function})
    assert evaluate(program, {"input": torch.tensor([4.0])}).tolist() == [2.0]
    operators[1].op_type = "lstm"
    with pytest.raises(UserError, match="Core ML's lstm cannot be checked here; take --format"):
        evaluate(program, {"input": torch.tensor([4.0])})
