"""Metrics of tasks: agreement with a class or with label maps, and flicker of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.errors import UserError
from gan_slimming.perceptual.weights import weight_folders

CLASSIFIER_SIDE = 224
"""Side in pixels to which the classifier enlarges smaller images."""
LEVELS = 127.5
"""8-bit levels in one unit of [-1, 1]."""
LABELS = ("squeezenet1_1/squeezenet1.1.labels", "imagenet_labels.txt")
"""Files of class names in a folder of weights: one class per line, synonyms between commas."""
IGNORED = 255
"""Label of ignored pixels, as in Pascal VOC and Cityscapes."""


def class_index(name: str, classes: int, labels: Path | None = None) -> int:
    """Return the number of a class, given as a number or as one of its names.

    Args:
        name: '340' or 'zebra'; case does not matter.
        classes: number of classes.
        labels: file of names, one class per line; None searches the folders of weights.
    Raises:
        UserError: there is no such class, or no file of names.
    """
    if name.isdecimal():
        if int(name) >= classes:
            raise UserError(f"the classifier has classes 0 to {classes - 1}, got {name}")
        return int(name)
    candidates = [labels] if labels else [f / path for f in weight_folders() for path in LABELS]
    file = next((path for path in candidates if path.is_file()), None)
    if file is None:
        where = str(labels) if labels else "squeezenet1.1.labels in the folders of weights"
        raise UserError(f"no file of class names ({where}); give --class-labels FILE or a number")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = name.strip().lower()
    for index, line in enumerate(lines[:classes]):
        if wanted in [synonym.strip().lower() for synonym in line.split(",")]:
            return index
    near = [line for line in lines if wanted and wanted in line.lower()][:3]
    hint = f"; near it are {'; '.join(near)}" if near else ""
    raise UserError(f"{file} has no class {name!r}{hint}")


def classifier_size(images: Tensor) -> Tensor:
    """Return images (batch, 3, height, width), their shorter side at least CLASSIFIER_SIDE."""
    side = min(images.shape[-2:])
    if side >= CLASSIFIER_SIDE:
        return images
    size = [round(length * CLASSIFIER_SIDE / side) for length in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", align_corners=False)


def flicker(made: Tensor, reference: Tensor) -> Tensor:
    """Return the mean difference of frame-to-frame changes (frames - 1,), in 8-bit levels.

    It is the mean over RGB and pixels of |(s_t - s_(t-1)) - (r_t - r_(t-1))|. Motion in both videos
    does not count, nor does a constant error.

    Args:
        made, reference: (frames, 3, height, width), RGB in [-1, 1].
    """
    changes = (made[1:] - made[:-1]) - (reference[1:] - reference[:-1])
    return changes.abs().mean(dim=(1, 2, 3)) * LEVELS


def overlap(scores: Tensor, labels: Tensor) -> Tensor:
    """Return pixels of intersection and union (batch, 2, classes) of found and true areas.

    Args:
        scores: (batch, classes, h, w) of a segmenter; resized to the label maps (bilinear).
        labels: (batch, height, width) int64; IGNORED and other unknown classes do not count.
    """
    classes = scores.shape[1]
    found = F.interpolate(scores, labels.shape[-2:], mode="bilinear", align_corners=False).argmax(1)
    counted = (labels >= 0) & (labels < classes)
    rows = []
    for of_image, truth, valid in zip(found, labels, counted, strict=True):
        pairs = truth[valid] * classes + of_image[valid]
        table = torch.bincount(pairs, minlength=classes**2).view(classes, classes)
        common = table.diagonal()
        rows.append(torch.stack([common, table.sum(0) + table.sum(1) - common]))
    return torch.stack(rows)


def mean_iou(means: np.ndarray) -> float:
    """Return the mean over classes of intersection over union.

    Args:
        means: mean of `overlap` over images, flattened, (2 * classes,). Absent classes do not
            count.
    """
    common, joint = np.split(np.asarray(means, dtype=np.float64), 2)
    present = joint > 0
    return float((common[present] / joint[present]).mean()) if present.any() else 0.0


def check_labels(values: Sequence[int], classes: int, path: Path) -> None:
    """Raise UserError if a label map holds classes that the segmenter does not have."""
    wrong = [value for value in values if value >= classes and value != IGNORED]
    if wrong:
        raise UserError(
            f"{path} has the label {wrong[0]}, the segmenter has classes 0 to {classes - 1}; "
            f"mark pixels that do not count with {IGNORED}"
        )
