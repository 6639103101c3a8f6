"""The Inception network of FID against torch-fidelity's, with the same random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.parity.make_torch_fidelity import images, inception_state
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.errors import UserError
from gan_slimming.perceptual.inception import InceptionFeatures, tensorflow_resize

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "parity" / "torch_fidelity.json").read_text()
)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    shapes = {}
    for line in GOLDEN["keys"]:
        name, _, shape = line.partition(" ")
        numbers = [int(side) for side in shape.strip("()").split(",") if side]
        shapes[name] = torch.empty(numbers)
    return inception_state(shapes)


def test_features_and_scores_are_torch_fidelitys(state: dict[str, Tensor]) -> None:
    network = InceptionFeatures(state)
    assert sorted(network.state_dict()) == sorted(state)
    with torch.inference_mode():
        features, logits = network(images().float() / 127.5 - 1)
        alone = network(images()[:1].float() / 127.5 - 1)[0]
    torch.testing.assert_close(alone, features[:1], rtol=1e-4, atol=1e-5)
    assert features.shape == (2, 2048)
    for found, name, step in ((features, "features", 128), (logits, "logits", 63)):
        expected = torch.tensor(GOLDEN[name])
        torch.testing.assert_close(found[:, ::step], expected, rtol=1e-4, atol=1e-5)
    means = features.double().mean(dim=1).tolist()
    assert means == pytest.approx(GOLDEN["features_mean"], rel=1e-5)
    network.train()
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_another_version_is_refused(state: dict[str, Tensor]) -> None:
    lacking = {name: tensor for name, tensor in state.items() if "Mixed_7c" not in name}
    with pytest.raises(UserError, match=r"not the Inception network of FID: Mixed_7c.*got nothing"):
        InceptionFeatures(lacking)
    later = state | {"fc.weight": torch.zeros(1000, 2048)}
    with pytest.raises(UserError, match="torchvision's has 1000 classes"):
        InceptionFeatures(later)


def test_the_old_bilinear_rule() -> None:
    line = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    doubled = tensorflow_resize(line, 8)[0, 0, 0]
    assert doubled.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]  # not centred: the last is repeated
    assert torch.equal(tensorflow_resize(line, 4), line)
    halved = tensorflow_resize(torch.rand(1, 3, 8, 6), 3)
    assert halved.shape == (1, 3, 3, 3)
    centred = F.interpolate(line, (8, 8), mode="bilinear", align_corners=False)
    assert not torch.allclose(centred[0, 0, 0], doubled)
