"""The choice of metrics: those on a classifier of CIFAR-10 need one, and are never a default."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_slimming.errors import UserError
from gan_slimming.evaluation.choice import (
    EvaluationWarning,
    Given,
    check_counts,
    choose_metrics,
    kind_of,
    teachers_told,
)
from gan_slimming.evaluation.subjects import Subject
from gan_slimming.evaluation.tools import TaskNetworks
from gan_slimming.metrics.catalogue import METRICS


def test_kinds_of_set_metrics() -> None:
    kinds = {name: kind_of(METRICS[name]) for name in ("fid", "kid_squeezenet", "recall")}
    assert kinds == {"fid": "frechet", "kid_squeezenet": "kid", "recall": "recall"}
    assert kind_of(METRICS["classifier_score"]) == "inception_score"
    assert kind_of(METRICS["frechet_classifier"]) == "frechet"


def test_a_classifier_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"classifier_score needs .* --classifier FILE"):
        choose_metrics(["classifier_score"], Given(), [])
    given = Given(tasks=TaskNetworks(classifier=tmp_path / "classifier.safetensors"))
    assert [m.name for m in choose_metrics(["classifier_score"], given, [])] == ["classifier_score"]
    with pytest.raises(UserError, match="frechet_classifier needs real images"):
        choose_metrics(["frechet_classifier"], given, [])
    assert not METRICS["classifier_score"].default


@pytest.mark.parametrize(
    ("name", "images", "advice"),
    [
        ("fid", 100, "give more, or take kid$"),
        ("frechet_squeezenet", 100, "give more, or take kid_squeezenet$"),
        ("frechet_squeezenet", 12, "give more$"),
        ("kid", 12, "give more$"),
        ("classifier_score", 12, "give more$"),
        ("frechet_classifier", 12, "give more$"),
    ],
)
def test_advice_for_too_few_images_can_be_followed(name: str, images: int, advice: str) -> None:
    with pytest.raises(UserError, match=f"means nothing, .*; {advice}"):
        check_counts([METRICS[name]], images, images, asked=True)


def test_an_evaluation_of_nothing_is_no_result() -> None:
    metrics = [METRICS["kid"], METRICS["recall"]]
    with (
        pytest.raises(UserError, match="nothing can be measured on 12 images and 7 real ones"),
        pytest.warns(EvaluationWarning, match="is left out"),
    ):
        check_counts(metrics, 12, 7, asked=False)


def test_the_teacher_of_a_shipped_model_is_named() -> None:
    told = teachers_told([Subject("vintage"), Subject("photos")])
    assert "vintage was made from cyclegan:G_A2B_epoch33.pth" in told
    with pytest.raises(UserError, match=r"--teacher MODEL, .*; shipped models come without a"):
        choose_metrics(None, Given(), [None], lost=told)
    with pytest.raises(UserError, match=r"lpips needs a teacher .* vintagify 0.1.2"):
        choose_metrics(["lpips"], Given(), [None], lost=told)
    two = teachers_told([Subject("vintage"), Subject("cartoon-hayao")])
    assert two.endswith("one by one, each with its own teacher")
    assert teachers_told([Subject("photos")]) == ""
