"""The choice of metrics: those on a classifier of CIFAR-10 need one, and are never a default."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_slimming.errors import UserError
from gan_slimming.evaluation.choice import Given, choose_metrics, kind_of
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
