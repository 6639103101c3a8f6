"""Colour matching: the colours of an input photo for its output image."""

from __future__ import annotations

import torch
from torch import Tensor

VARIANCE_FLOOR = (1.0 / 255.0) ** 2
"""Variance added to colours in [-1, 1]: half a grey level squared, too little to see."""


def match_colours(output: Tensor, photo: Tensor, weights: Tensor | None = None) -> Tensor:
    """Give the output's colours the mean and covariance of the photo's.

    colour <- A (colour - mu_o) + mu_c  with  A = Sigma_c^1/2 Sigma_o^-1/2, Gatys et al. 2016 (arXiv
    1606.05897), section 5.3: the post-processing of CartoonGAN. VARIANCE_FLOOR is added to both
    covariances, unlike in the paper: without it the covariance of a flat image has no inverse, and
    noise below a grey level would be amplified.

    Args:
        output, photo: (3, height, width) in [-1, 1], each of any size.
        weights: (height, width), weight of each pixel, such as the alpha channel of both; None
            weighs all alike.

    Returns:
        An image of the output's shape and type, clamped to [-1, 1].
    """
    counts = None if weights is None else weights.to(output.device, torch.float64).flatten()
    if counts is not None and float(counts.sum()) <= 0:
        return output
    mean_output, covariance_output = _statistics(output, counts)
    mean_photo, covariance_photo = _statistics(photo.to(output.device), counts)
    matrix = _power(covariance_photo, 0.5) @ _power(covariance_output, -0.5)
    colours = output.double().flatten(1) - mean_output
    matched = (matrix @ colours + mean_photo).clamp(-1.0, 1.0)
    return matched.to(output.dtype).reshape(output.shape)


def _statistics(image: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return mean (3, 1) and covariance (3, 3), with the floor, of an image's colours; float64."""
    colours = image.double().flatten(1)
    share = torch.full_like(colours[0], 1.0) if counts is None else counts
    share = share / share.sum()
    mean = (colours * share).sum(1, keepdim=True)
    centred = colours - mean
    covariance = (centred * share) @ centred.T
    return mean, covariance + VARIANCE_FLOOR * torch.eye(3).to(covariance)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Raise a symmetric positive definite matrix to a power."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp_min(VARIANCE_FLOOR) ** exponent) @ vectors.T
