"""Every metric that evaluate knows: its name, which way is better, what it needs, how it is had."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gan_slimming.data.inputs import enlarged
from gan_slimming.errors import UserError
from gan_slimming.metrics import distances
from gan_slimming.metrics.colour import BLUR_SIGMA, colour_difference
from gan_slimming.metrics.dots import dots
from gan_slimming.metrics.flip import PIXELS_PER_DEGREE, flip, flip_installed
from gan_slimming.perceptual.dists import load_dists
from gan_slimming.perceptual.lpips import LPIPS_WEIGHTS, load_lpips
from gan_slimming.perceptual.weights import find_weights

MOST_PSNR = 100.0
"""dB that count for equal images, whose ratio is infinite."""
FEATURE_SIDE = 64
"""Pixels a side to which smaller images are enlarged before a network trained on photos compares
them."""

Pairwise = Callable[[Tensor, Tensor], Tensor]
"""Images under test and references, (batch, 3, height, width) RGB in [-1, 1], to (batch,)."""


@dataclass(frozen=True)
class Metric:
    """One metric, without the state that measuring takes."""

    name: str
    """What --metrics and the results call it."""
    direction: Literal["lower", "higher"]
    """Which way is better."""
    unit: str
    """Of its values; '' where they have none."""
    needs: Literal["teacher", "targets", "nothing", "class", "labels", "frames"]
    """What images are compared with: 'teacher' and 'targets' are other images, 'class' a
    classifier's class, 'labels' label maps, 'frames' the teacher's frames one after the other."""
    meaning: str
    """One line."""
    network: str | None = None
    """Feature network of perceptual.weights whose weights must be at hand."""
    default: bool = False
    """Whether it is measured where nobody asks for anything."""


def _sets(network: str, names: tuple[str, str, str, str]) -> list[Metric]:
    """Metrics between two sets of images on one feature network."""
    frechet, kernel, precision, recall = names
    of = f"features of {network}"
    found = (
        (frechet, "lower", f"Fréchet distance of two Gaussians through {of}"),
        (kernel, "lower", f"kernel distance of {of}, unbiased, with its spread over subsets"),
        (precision, "higher", f"share of images that lie among the real ones, by {of}"),
        (recall, "higher", f"share of real images that lie among the model's, by {of}"),
    )
    return [
        Metric(name, direction, "", "targets", meaning, network, default=True)  # pyright: ignore[reportArgumentType]
        for name, direction, meaning in found
    ]


_TEACHER = (
    Metric("lpips", "lower", "", "teacher", "learned perceptual distance on SqueezeNet, v0.1",
           "squeezenet", default=True),
    Metric("lpips_alex", "lower", "", "teacher", "the same on AlexNet", "alexnet"),
    Metric("lpips_vgg", "lower", "", "teacher", "the same on VGG-16", "vgg16"),
    Metric("dists", "lower", "", "teacher", "likeness of structure and texture on VGG-16", "vgg16"),
    Metric("psnr", "higher", "dB", "teacher", "peak signal-to-noise ratio over RGB, 100 at most",
           default=True),
    Metric("ssim", "higher", "", "teacher", "structural similarity, 11x11 window", default=True),
    Metric("ms_ssim", "higher", "", "teacher", "the same over five scales; 176 pixels a side"),
    Metric("l1", "lower", "of 2", "teacher", "mean absolute difference of RGB in [-1, 1]",
           default=True),
    Metric("flip", "lower", "", "teacher",
           f"what the eye sees when flipping, at {PIXELS_PER_DEGREE:.0f} pixels per degree",
           default=True),
    Metric("colour", "lower", "CIEDE2000", "teacher",
           f"colour of areas, behind a blur of {BLUR_SIGMA:.0f} pixels", default=True),
    Metric("dots", "lower", "8-bit levels", "teacher",
           "lattices at periods 2 and 4 that the teacher has not, on smooth parts", default=True),
    Metric("flicker", "lower", "8-bit levels", "frames",
           "how far changes from frame to frame differ from the teacher's"),
)  # fmt: skip
_SETS = (
    *_sets("inception", ("fid", "kid", "precision", "recall")),
    Metric("inception_score", "higher", "", "nothing",
           "sure of a class for each image, many classes over all", "inception"),
    *_sets("squeezenet", ("frechet_squeezenet", "kid_squeezenet", "precision_squeezenet",
                          "recall_squeezenet")),
)  # fmt: skip
_TASKS = (
    Metric("class_rate", "higher", "share", "class", "images that a classifier takes for the class",
           "squeezenet", default=True),
    Metric("mean_iou", "higher", "", "labels", "overlap of a segmenter's areas with label maps",
           default=True),
)  # fmt: skip
METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_TEACHER, *_SETS, *_TASKS)}


def find_metrics(names: Iterable[str]) -> list[Metric]:
    """Return metrics by name. Raises UserError for a name that is none."""
    names = list(names)
    for name in names:
        if name not in METRICS:
            hint = ""
            if name in ("frechet", "kid_inception", "frechet_inception"):
                hint = "; on Inception it is called fid, elsewhere frechet_squeezenet"
            raise UserError(f"metrics are {', '.join(METRICS)}; got {name!r}{hint}")
    return [METRICS[name] for name in dict.fromkeys(names)]


def missing_for(metric: Metric, inception_given: bool = False) -> str | None:
    """Return what this machine lacks for a metric, or None where all is at hand."""
    if metric.name == "flip":
        return None if flip_installed() else "the package flip-evaluator"
    if metric.network == "inception" and inception_given:
        return None
    if metric.network is not None and find_weights(metric.network) is None:
        return f"the weights of {metric.network}"
    return None


def pairwise(name: str, device: torch.device, download: bool = True) -> Pairwise:
    """Return the function of a metric that compares images with their references, one by one.

    The values of an image do not depend on its batch.

    Args:
        name: of METRICS, one that needs a teacher.
        device: where networks run.
        download: whether weights that are missing may be fetched.
    Raises:
        UserError: weights or a package are missing.
    """
    simple: dict[str, Pairwise] = {
        "psnr": lambda made, given: distances.psnr(made, given).clamp(max=MOST_PSNR),
        "l1": distances.l1,
        "ssim": distances.ssim,
        "ms_ssim": distances.ms_ssim,
        "colour": _in_float64(colour_difference),
        "dots": _in_float64(dots),
        "flip": flip,
    }
    if name in simple:
        return simple[name]
    if name == "dists":
        network: torch.nn.Module = load_dists(download)
    else:
        kind = name.removeprefix("lpips").lstrip("_") or "squeeze"
        assert kind in LPIPS_WEIGHTS
        network = load_lpips(download=download, network=kind)
    return on_features(network.to(device))


def _in_float64(measure: Pairwise) -> Pairwise:
    """The same, on the CPU where the images' device has no such numbers (Apple's)."""

    def on_able_device(made: Tensor, given: Tensor) -> Tensor:
        if made.device.type == "mps":
            made, given = made.cpu(), given.cpu()
        return measure(made, given)

    return on_able_device


def on_features(network: torch.nn.Module) -> Pairwise:
    """Return a learned distance that sees images below FEATURE_SIDE pixels enlarged to it."""
    return lambda made, given: network(enlarged(made, FEATURE_SIDE), enlarged(given, FEATURE_SIDE))


def resize_rule(metric: Metric) -> str:
    """Return what happens to an image's size before a metric sees it."""
    if metric.name.startswith(("lpips", "dists")):
        return f"none; below {FEATURE_SIDE} pixels a side enlarged to that, bilinear"
    return "none"
