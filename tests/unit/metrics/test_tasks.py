"""Classes by name, overlap of areas, and flicker, in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gan_slimming.errors import UserError
from gan_slimming.metrics.tasks import (
    LEVELS,
    check_labels,
    class_index,
    classifier_size,
    flicker,
    mean_iou,
    overlap,
)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    file = tmp_path / "names.labels"
    file.write_text("tench, Tinca tinca\ngoldfish\nzebra\nzebra finch\n")
    return file


def test_a_class_by_number_name_or_synonym(labels: Path) -> None:
    assert class_index("340", 1000) == 340
    assert class_index("Zebra", 4, labels) == 2
    assert class_index("tinca TINCA", 4, labels) == 0
    with pytest.raises(UserError, match="has no class 'zebr'; near it are zebra; zebra finch"):
        class_index("zebr", 4, labels)
    with pytest.raises(UserError, match="classes 0 to 999, got 1000"):
        class_index("1000", 1000)


def test_a_file_of_names_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, labels: Path
) -> None:
    monkeypatch.setenv("GAN_SLIMMING_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("GAN_SLIMMING_DATA", raising=False)
    with pytest.raises(UserError, match="give --class-labels FILE or a number"):
        class_index("zebra", 1000)
    with pytest.raises(UserError, match="absent"):
        class_index("zebra", 1000, tmp_path / "absent")
    with pytest.raises(UserError, match=r"has no class ' '$"):
        class_index(" ", 4, labels)
    with pytest.raises(UserError, match="no class"):
        class_index("²", 4, labels)  # a digit to Python, and no number
    (tmp_path / "imagenet_labels.txt").write_text("a\nzebra\n")
    assert class_index("zebra", 1000) == 1


def test_small_images_are_enlarged_for_the_classifier() -> None:
    assert classifier_size(torch.rand(1, 3, 32, 64)).shape == (1, 3, 224, 448)
    large = torch.rand(1, 3, 256, 300)
    assert classifier_size(large) is large


def test_flicker_counts_changes_that_the_teacher_has_not() -> None:
    teacher = torch.rand(5, 3, 8, 8) - 0.5
    assert flicker(teacher + 0.25, teacher).abs().max() < 1e-4
    blinking = teacher.clone()
    blinking[1::2] += 4 / LEVELS
    torch.testing.assert_close(flicker(blinking, teacher), torch.full((4,), 4.0))


def test_overlap_of_areas() -> None:
    labels = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 255]]])
    found = torch.tensor([[[0, 1, 1, 1], [0, 0, 0, 1]]])
    scores = torch.nn.functional.one_hot(found, 3).permute(0, 3, 1, 2).float()
    rows = overlap(scores, labels)
    # Class 0: 3 in common of {4 true, 4 found}; class 1: 2 of {3 true, 3 found}.
    assert rows.tolist() == [[[3, 2, 0], [5, 4, 0]]]
    assert mean_iou(rows[0].flatten().numpy()) == pytest.approx((3 / 5 + 2 / 4) / 2)
    assert mean_iou(np.zeros(6)) == 0


def test_labels_beyond_the_classes() -> None:
    check_labels([0, 2, 255], 3, Path("map.png"))
    with pytest.raises(
        UserError, match=r"map.png has the label 7, the segmenter has classes 0 to 2"
    ):
        check_labels([0, 7], 3, Path("map.png"))
