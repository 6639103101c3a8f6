"""The end of a run: how its figures are to be read."""

from __future__ import annotations

from typing import Any

from gan_slimming.config import InputContract, Run
from gan_slimming.training.artifacts import protocol_of
from gan_slimming.training.summary import Summary


def test_the_protocol_says_what_was_looked_at() -> None:
    run = Run(size=32)
    assert protocol_of(InputContract(), run, 64, 5)["size"] == 32
    found = protocol_of(InputContract(latent_size=4, classes=2), run, 16, 5)
    assert (found["images"], found["pictures"], found["size"]) == (5, 5, 16)
    assert "resize" not in found


def test_the_summary_has_metrics_beside_costs() -> None:
    costs: dict[str, Any] = dict.fromkeys(Summary.__dataclass_fields__, 1)
    summary = Summary(**costs | {"quality": {"psnr": 20.0, "lpips": 0.1}, "protocol": {"size": 3}})
    told = summary.as_json()
    assert (told["psnr"], told["lpips"]) == (20.0, 0.1)
    assert "quality" not in told
    assert list(told)[-2:] == ["protocol", "report"]
