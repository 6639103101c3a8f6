"""The metrics of evaluate: name, direction, requirements and function of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gan_slimming.config.goals import MOST_PSNR
from gan_slimming.data.inputs import enlarged
from gan_slimming.errors import UserError
from gan_slimming.metrics import distances
from gan_slimming.metrics.colour import BLUR_SIGMA, colour_difference
from gan_slimming.metrics.cvvdp import cvvdp_installed
from gan_slimming.metrics.dots import dots
from gan_slimming.metrics.flip import PIXELS_PER_DEGREE, flip, flip_installed
from gan_slimming.perceptual.dists import load_dists
from gan_slimming.perceptual.lpips import LPIPS_WEIGHTS, load_lpips
from gan_slimming.perceptual.spectral import spectral_distance
from gan_slimming.perceptual.weights import find_weights

FEATURE_SIDE = 64
"""Side in pixels to which smaller images are enlarged for a network trained on photos."""

Pairwise = Callable[[Tensor, Tensor], Tensor]
"""Maps images and references, (batch, 3, height, width) RGB in [-1, 1], to (batch,)."""


@dataclass(frozen=True)
class Metric:
    """A metric, without any state."""

    name: str
    """Name for --metrics and in the results."""
    direction: Literal["lower", "higher"]
    """Which way is better."""
    unit: str
    """Unit of its values; '' without one."""
    needs: Literal["teacher", "targets", "nothing", "class", "labels", "frames"]
    """The reference: the 'teacher' image, real 'targets', a classifier's 'class', 'labels' maps, or
    the teacher's 'frames' in order."""
    meaning: str
    """Definition in one line."""
    network: str | None = None
    """Feature network of perceptual.weights that it needs."""
    default: bool = False
    """Whether it is measured without --metrics."""
    of: Literal["images", "waveforms", "both"] = "images"
    """What it measures."""


def _sets(network: str, names: tuple[str, str, str, str]) -> list[Metric]:
    """Return the metrics between two sets of images on one feature network."""
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
    Metric("lpips_alex", "lower", "", "teacher", "lpips on AlexNet", "alexnet"),
    Metric("lpips_vgg", "lower", "", "teacher", "lpips on VGG-16", "vgg16"),
    Metric("dists", "lower", "", "teacher", "structure and texture on VGG-16", "vgg16"),
    Metric("psnr", "higher", "dB", "teacher", "peak signal-to-noise ratio over RGB, 100 at most",
           default=True, of="both"),
    Metric("ssim", "higher", "", "teacher", "structural similarity, 11x11 window", default=True),
    Metric("ms_ssim", "higher", "", "teacher", "ssim over five scales; needs 176 pixels a side"),
    Metric("l1", "lower", "of 2", "teacher", "mean absolute difference of RGB in [-1, 1]",
           default=True, of="both"),
    Metric("flip", "lower", "", "teacher",
           f"visible difference when flipping, at {PIXELS_PER_DEGREE:.0f} pixels per degree",
           default=True),
    Metric("colour", "lower", "CIEDE2000", "teacher",
           f"colour of areas, after a blur of {BLUR_SIGMA:.0f} pixels", default=True),
    Metric("dots", "lower", "8-bit levels", "teacher",
           "lattices at periods 2 and 4 that the teacher lacks, on smooth parts", default=True),
    Metric("flicker", "lower", "8-bit levels", "frames",
           "how far changes from frame to frame differ from the teacher's"),
    Metric("spectral", "lower", "", "teacher",
           "multi-resolution STFT: spectral convergence and log magnitudes", default=True,
           of="waveforms"),
    Metric("cvvdp", "higher", "JOD", "frames", "visible differences of the video, 10 at most"),
)  # fmt: skip
_SETS = (
    *_sets("inception", ("fid", "kid", "precision", "recall")),
    Metric("inception_score", "higher", "", "nothing",
           "one clear class for each image, many classes over all", "inception"),
    *_sets("squeezenet", ("frechet_squeezenet", "kid_squeezenet", "precision_squeezenet",
                          "recall_squeezenet")),
    Metric("classifier_score", "higher", "", "nothing",
           "inception_score's formula on a classifier of CIFAR-10", "classifier"),
    Metric("frechet_classifier", "lower", "", "targets",
           "Fréchet distance of two Gaussians through features of that classifier", "classifier"),
)  # fmt: skip
_TASKS = (
    Metric("class_rate", "higher", "share", "class", "images that a classifier puts in the class",
           "squeezenet", default=True),
    Metric("mean_iou", "higher", "", "labels", "overlap of a segmenter's areas with label maps",
           default=True),
)  # fmt: skip
METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_TEACHER, *_SETS, *_TASKS)}


def find_metrics(names: Iterable[str]) -> list[Metric]:
    """Return metrics by name. Raises UserError for an unknown name."""
    names = list(names)
    for name in names:
        if name not in METRICS:
            hint = ""
            if name in ("frechet", "kid_inception", "frechet_inception"):
                hint = "; on Inception it is called fid, elsewhere frechet_squeezenet"
            raise UserError(f"metrics are {', '.join(METRICS)}; got {name!r}{hint}")
    return [METRICS[name] for name in dict.fromkeys(names)]


def missing_for(metric: Metric, inception_given: bool = False) -> str | None:
    """Return the missing weights or package of a metric, or None if nothing is missing."""
    if metric.name == "flip":
        return None if flip_installed() else "a package; pip install 'gan-slimming[flip]'"
    if metric.name == "cvvdp":
        return None if cvvdp_installed() else "packages; pip install cvvdp torchvision"
    if metric.network == "inception" and inception_given:
        return None
    if metric.network is not None and find_weights(metric.network) is None:
        return f"the weights of {metric.network}"
    return None


def pairwise(name: str, device: torch.device, download: bool = True) -> Pairwise:
    """Return the function of a metric that compares each image with its reference.

    The value of an image does not depend on its batch.

    Args:
        name: a metric of METRICS that needs a teacher.
        device: the device of networks.
        download: whether missing weights may be downloaded.
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
        "spectral": spectral_distance,
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
    """Return `measure`, run on the CPU for images on MPS, which has no float64."""

    def on_able_device(made: Tensor, given: Tensor) -> Tensor:
        if made.device.type == "mps":
            made, given = made.cpu(), given.cpu()
        return measure(made, given)

    return on_able_device


def on_features(network: torch.nn.Module) -> Pairwise:
    """Return a learned distance that enlarges images below FEATURE_SIDE pixels to that side."""
    return lambda made, given: network(enlarged(made, FEATURE_SIDE), enlarged(given, FEATURE_SIDE))


def resize_rule(metric: Metric) -> str:
    """Return the rule by which a metric resizes images."""
    if metric.name.startswith(("lpips", "dists")):
        return f"none; below {FEATURE_SIDE} pixels a side enlarged to that, bilinear"
    return "none"
