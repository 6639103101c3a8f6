"""Generators in the manner of published families are cut exactly; most of their channels can go."""

from __future__ import annotations

import pytest
import torch
from tests.families.families import FAMILIES, example_of, teacher_of
from tests.families.table import row_of
from tests.property.test_extraction import EXACT, randomise
from tests.property.test_foreign_nets import damaged
from torch import Tensor, nn

from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract

LEAST_PRUNABLE = {
    "transformer (SwinIR)": 0.3,
    "MobileNet (CycleGAN, separable)": 0.3,
    "ProGAN": 0.3,
}
"""Family -> least share of the channels that can go, where it is not half of them."""


def same_noise(left: nn.Module, right: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    """Return the largest difference of two networks that draw the same noise inside."""
    images = []
    for network in (left, right):
        torch.manual_seed(5)
        with torch.no_grad():
            images.append(network(*inputs))
    pairs = zip(*images, strict=True) if isinstance(images[0], tuple) else [images]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's old spectral norm
@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_with_dead_channels_is_extracted_exactly(family: str) -> None:
    teacher = randomise(teacher_of(family).double(), torch.Generator().manual_seed(1))
    student = prepare(teacher, example_of(teacher), bits=None)
    graph = student.graph
    prunable = sum(group.channels for group in graph.prunable)
    least = LEAST_PRUNABLE.get(family, 0.5)
    assert prunable >= least * sum(group.channels for group in graph.groups)
    broken = damaged(student, 2, 0.4)
    assert same_noise(extract(broken), broken, example_of(teacher)) < EXACT


def test_the_table_has_what_the_commands_say() -> None:
    row = row_of("MobileNet (CycleGAN, separable)")
    assert row["macs"] <= 0.5 * row["teacher_macs"]
    assert row["onnx"]["float_layers"] == row["openvino"]["float_layers"] == 0
    # Images may differ more: one value half-way between two codes is enough in a random network.
    assert row["onnx"]["worst_layer"] < 1e-5
    assert row["openvino"]["worst_layer"] < 1e-5
