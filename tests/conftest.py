"""What all tests share: the seed, the folder of real data, two tiny generators."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

# Tiny networks: threads would only wait for each other. Before torch is imported, subprocesses too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Verdicts on int8 kernels stay with one run of the tests.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="gan-slimming-tests-")

import torch
from tests.local_server import Server, serving
from torch import nn

from gan_slimming.models import CartoonGenerator, ResnetGenerator


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def one_kind_of_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let export check int8 kernels on this CPU alone; the others cost seconds each."""
    if find_spec("openvino") is not None:
        monkeypatch.setattr("gan_slimming.runtime.kernel_verdicts.kinds_of_cpu", lambda: [])


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real images and published weights."""
    folder = os.environ.get("GAN_SLIMMING_DATA")
    if not folder:
        pytest.skip("GAN_SLIMMING_DATA is unset: it names the folder with real data")
    if not Path(folder).is_dir():
        pytest.skip(f"GAN_SLIMMING_DATA names {folder}, which is no folder")
    return Path(folder)


@pytest.fixture
def tiny_cartoongan() -> CartoonGenerator:
    """CartoonGAN's generator of width 4 with 2 blocks, random weights, evaluation mode."""
    return CartoonGenerator(width=4, blocks=2).eval()


@pytest.fixture
def tiny_cyclegan() -> ResnetGenerator:
    """CycleGAN's generator of width 4 with 2 blocks, random weights, evaluation mode."""
    return ResnetGenerator(width=4, blocks=2).eval()


@pytest.fixture
def lively_cartoongan(tiny_cartoongan: CartoonGenerator) -> CartoonGenerator:
    """The same in float64, with weights so large that every channel shows in the image."""
    for parameter in tiny_cartoongan.double().parameters():
        nn.init.normal_(parameter, 0.1, 0.5)
    return tiny_cartoongan


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server on this machine that holds one file."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as state:
        yield state
