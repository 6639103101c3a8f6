"""The classifier of CIFAR-10: its shapes by hand, its files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gan_slimming.data.download import file_sha256
from gan_slimming.errors import UserError
from gan_slimming.perceptual.cifar_classifier import CifarClassifier, cifar_classifier
from gan_slimming.perceptual.embeddings import embedding_at_hand, load_embedding

CPU = torch.device("cpu")


@pytest.mark.parametrize(("blocks", "millions"), [(3, 0.269722), (9, 0.853018)])
def test_sizes_are_those_of_resnet_20_and_56(blocks: int, millions: float) -> None:
    network = CifarClassifier(blocks)
    assert sum(p.numel() for p in network.parameters()) == round(1e6 * millions)


def test_a_stage_halves_the_size_and_adds_zeros() -> None:
    block = CifarClassifier(1).layer2[0]
    torch.nn.init.zeros_(block.bn2.weight)  # pyright: ignore[reportArgumentType]
    images = torch.rand(1, 16, 8, 8)
    made = block.eval()(images)
    torch.testing.assert_close(made[:, 8:24], images[:, :, ::2, ::2])
    assert not made[:, :8].any()
    assert not made[:, 24:].any()


def test_published_names_and_depth(tmp_path: Path) -> None:
    network = CifarClassifier(2).eval()
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    again = cifar_classifier(state)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        for found, wanted in zip(again(images), network(images), strict=True):
            torch.testing.assert_close(found, wanted)
    with pytest.raises(UserError, match=r"holds no ResNet of CIFAR-10"):
        cifar_classifier({"conv1.weight": torch.zeros(8, 3, 3, 3)})


def test_as_a_feature_network(tmp_path: Path) -> None:
    network, file = CifarClassifier(1).eval(), tmp_path / "classifier.safetensors"
    save_file(network.state_dict(), file)
    found = load_embedding("classifier", CPU, file)
    assert (found.dimensions, found.classes) == (64, 10)
    assert found.weights_sha256 == file_sha256(file)
    assert embedding_at_hand("classifier", file)
    assert not embedding_at_hand("classifier")
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        for one, two in zip(found.run(images * 2 - 1), network(images), strict=True):
            torch.testing.assert_close(one, two)
        assert found.run(torch.zeros(1, 3, 64, 48))[0].shape == (1, 64)
    with pytest.raises(UserError, match="--classifier FILE"):
        load_embedding("classifier", CPU)
