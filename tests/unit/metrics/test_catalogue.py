"""The table of metrics, and their directions and independence of batches on images."""

from __future__ import annotations

import importlib.util
from itertools import pairwise as neighbours

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.errors import UserError
from gan_slimming.metrics import distances
from gan_slimming.metrics.catalogue import (
    METRICS,
    find_metrics,
    missing_for,
    pairwise,
    resize_rule,
)

CPU = torch.device("cpu")
PLAIN = ("psnr", "l1", "ssim", "ms_ssim", "colour", "dots")


def images() -> Tensor:
    """Smooth images (3, 3, 176, 176) with some detail, in [-0.8, 0.8]."""
    coarse = F.interpolate(torch.rand(3, 3, 9, 9), (176, 176), mode="bicubic")
    fine = F.interpolate(torch.rand(3, 3, 44, 44), (176, 176), mode="bicubic") * 0.2
    return ((coarse + fine) * 1.4 - 0.8).clamp(-0.8, 0.8)


def test_every_metric_is_told_in_full() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.meaning
        assert not metric.meaning.endswith(".")
    assert {m.name for m in METRICS.values() if m.network == "inception"} == {
        "fid", "kid", "precision", "recall", "inception_score"
    }  # fmt: skip
    assert not any(name.startswith("fid_") for name in METRICS)


def test_names_are_found_once_each_and_mistakes_told() -> None:
    assert [metric.name for metric in find_metrics(["psnr", "l1", "psnr"])] == ["psnr", "l1"]
    with pytest.raises(UserError, match=r"metrics are lpips, .*; got 'psrn'"):
        find_metrics(["psrn"])
    with pytest.raises(UserError, match="on Inception it is called fid, elsewhere frechet_squeeze"):
        find_metrics(["frechet"])


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_slimming.metrics.catalogue.find_weights", lambda name: None)
    monkeypatch.setattr("gan_slimming.metrics.catalogue.flip_installed", lambda: False)
    assert missing_for(METRICS["psnr"]) is None
    assert missing_for(METRICS["lpips"]) == "the weights of squeezenet"
    assert missing_for(METRICS["flip"]) == "a package; pip install 'gan-slimming[flip]'"
    assert missing_for(METRICS["fid"]) == "the weights of inception"
    assert missing_for(METRICS["fid"], inception_given=True) is None
    assert "64 pixels" in resize_rule(METRICS["lpips"])
    assert resize_rule(METRICS["psnr"]) == "none"


@pytest.mark.parametrize("name", PLAIN)
def test_an_image_gets_the_same_in_any_batch(name: str) -> None:
    measure, first = pairwise(name, CPU), images()
    second = (first + torch.randn_like(first) * 0.1).clamp(-1, 1)
    whole = measure(second, first)
    assert whole.shape == (3,)
    single = torch.cat([measure(a[None], b[None]) for a, b in zip(second, first, strict=True)])
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [*PLAIN, "flip"])
def test_more_noise_is_never_better(name: str) -> None:
    if name == "flip" and importlib.util.find_spec("flip_evaluator") is None:
        pytest.skip("flip-evaluator is not installed")
    measure, first = pairwise(name, CPU), images()
    noise = torch.randn_like(first)
    values = [
        float(measure((first + amount * noise).clamp(-1, 1), first).mean())
        for amount in (0.0, 0.05, 0.1, 0.2)
    ]
    sign = 1 if METRICS[name].direction == "lower" else -1
    assert all(sign * a < sign * b for a, b in neighbours(values)), values


def test_the_ratio_of_equal_images_is_cut() -> None:
    assert pairwise("psnr", CPU)(images(), images()).max() < 100
    same = images()
    assert pairwise("psnr", CPU)(same, same).tolist() == [100.0] * 3


def test_ms_ssim_is_one_when_equal_and_needs_176_pixels() -> None:
    same = images()
    assert pairwise("ms_ssim", CPU)(same, same).tolist() == pytest.approx([1.0] * 3)
    assert distances.MS_SSIM_SIDE == 176
    small = torch.zeros(1, 3, 175, 200)
    with pytest.raises(UserError, match=r"MS-SSIM needs images of at least 176x176.*got 175x200"):
        distances.ms_ssim(small, small)
    larger = torch.rand(1, 3, 176, 176)
    assert distances.ms_ssim(larger, larger).item() == pytest.approx(1)
