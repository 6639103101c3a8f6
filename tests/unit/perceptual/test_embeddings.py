"""Networks that make one vector of an image: names, sizes, and that files are the right ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.unit.perceptual.test_inception import state as inception_state_fixture
from tests.unit.perceptual.test_lpips import squeezenet_state
from torch import Tensor

from gan_slimming.data.download import file_sha256
from gan_slimming.errors import UserError
from gan_slimming.perceptual import weights
from gan_slimming.perceptual.embeddings import embedding_at_hand, load_embedding
from gan_slimming.perceptual.features import SqueezeNetFeatures
from gan_slimming.perceptual.weights import SOURCES, check_weights

CPU = torch.device("cpu")
state = inception_state_fixture


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of weights, empty at first."""
    monkeypatch.delenv("GAN_SLIMMING_DATA", raising=False)
    monkeypatch.setenv("GAN_SLIMMING_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def test_squeezenet_at_any_size(empty_machine: Path) -> None:
    given = squeezenet_state()
    classifier = {"classifier.1.weight": torch.randn(1000, 512, 1, 1) * 0.05}
    given |= classifier | {"classifier.1.bias": torch.zeros(1000)}
    torch.save(given, empty_machine / "squeezenet1_1-b8a52dc0.pth")
    assert embedding_at_hand("squeezenet")
    found = load_embedding("squeezenet", CPU, download=False)
    assert (found.dimensions, found.classes) == (512, 1000)
    assert found.weights_sha256 == file_sha256(empty_machine / "squeezenet1_1-b8a52dc0.pth")
    images = torch.rand(2, 3, 224, 224) * 2 - 1
    with torch.inference_mode():
        features, scores = found.run(images)
        network = SqueezeNetFeatures(given)
        expected = network((images + 1) / 2)["slice7"].mean(dim=(2, 3))
        torch.testing.assert_close(features, expected)
        torch.testing.assert_close(scores, network.logits((images + 1) / 2))
        assert found.run(torch.rand(1, 3, 40, 52))[0].shape == (1, 512)


def test_squeezenet_without_a_classifier(empty_machine: Path) -> None:
    torch.save(squeezenet_state(), empty_machine / "squeezenet1_1-b8a52dc0.pth")
    found = load_embedding("squeezenet", CPU, download=False)
    with torch.inference_mode():
        features, scores = found.run(torch.rand(3, 3, 64, 64))
    assert (found.classes, features.shape, scores.shape) == (0, (3, 512), (3, 0))


def test_nothing_at_hand() -> None:
    assert not embedding_at_hand("inception")
    with pytest.raises(UserError, match="no weights for inception on this machine"):
        load_embedding("inception", CPU, download=False)
    with pytest.raises(
        UserError, match="must be of inception, squeezenet, classifier, got 'resnet'"
    ):
        load_embedding("resnet", CPU)


def test_inception_files_must_be_the_published_one(
    empty_machine: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, Tensor]
) -> None:
    file = empty_machine / "own.pth"
    torch.save(state, file)
    with pytest.raises(UserError, match=r"own.pth has SHA-256 .* the published file has 6726825d"):
        load_embedding("inception", CPU, file)
    torch.save(state | {"fc.weight": torch.zeros(1000, 2048)}, file)
    with pytest.raises(UserError, match="torchvision's has 1000 classes"):
        load_embedding("inception", CPU, file)
    torch.save(state, file)
    published = replace(SOURCES["inception"], sha256=file_sha256(file))
    monkeypatch.setitem(weights.SOURCES, "inception", published)
    found = load_embedding("inception", CPU, file)
    assert (found.dimensions, found.classes) == (2048, 1008)
    with torch.inference_mode():
        assert found.run(torch.rand(1, 3, 20, 20))[0].shape == (1, 2048)


def test_check_weights(empty_machine: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*absent.pth; get it from https://"):
        check_weights("vgg16", empty_machine / "absent.pth")
