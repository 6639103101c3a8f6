"""Where weights are found, and downloads from a server on this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from tests.local_server import CONTENT, DIGEST, Server

from gan_slimming.data.files import cache_folder
from gan_slimming.errors import UserError
from gan_slimming.perceptual.weights import (
    SOURCES,
    Source,
    fetch_weights,
    find_weights,
    load_weights,
)


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No weights anywhere but in folders that the test makes; returns the cache folder."""
    monkeypatch.delenv("GAN_SLIMMING_WEIGHTS", raising=False)
    monkeypatch.delenv("GAN_SLIMMING_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gan-slimming"


def _put(folder: Path, path: str) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")
    return file


def test_cache_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, empty_machine: Path) -> None:
    assert cache_folder() == empty_machine
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/gan-slimming")


@pytest.mark.parametrize("variable", ["GAN_SLIMMING_WEIGHTS", "GAN_SLIMMING_DATA"])
def test_a_folder_that_is_not_there_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "absent"))
    for find in (find_weights, load_weights):
        with pytest.raises(UserError, match=rf"{variable} names .*absent, which is no folder"):
            find("squeezenet")


def test_weights_that_are_not_the_published_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GAN_SLIMMING_WEIGHTS", str(tmp_path))
    file = tmp_path / "squeezenet1_1-b8a52dc0.pth"
    torch.save({"a": torch.zeros(1)}, file)
    with pytest.raises(UserError, match="the published file has b8a52dc0"):
        load_weights("squeezenet")
    assert load_weights("squeezenet", file)["a"] == 0  # a file of the caller's own choice
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    source = SOURCES["squeezenet"]
    copied = Source(source.url, source.sha256, source.paths, (digest,))
    monkeypatch.setitem(SOURCES, "squeezenet", copied)
    assert load_weights("squeezenet")["a"] == 0


def test_found_in_order_of_precedence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_machine: Path
) -> None:
    assert find_weights("squeezenet") is None
    in_cache = _put(empty_machine, "squeezenet1_1-b8a52dc0.pth")
    assert find_weights("squeezenet") == in_cache
    in_data = _put(tmp_path / "data", "squeezenet1_1/squeezenet1_1_imagenet.pth")
    monkeypatch.setenv("GAN_SLIMMING_DATA", str(tmp_path / "data"))
    assert find_weights("squeezenet") == in_data
    in_weights = _put(tmp_path / "mine", "squeezenet1_1-b8a52dc0.pth")
    monkeypatch.setenv("GAN_SLIMMING_WEIGHTS", str(tmp_path / "mine"))
    assert find_weights("squeezenet") == in_weights
    with pytest.raises(UserError, match="got 'resnet'"):
        find_weights("resnet")


def test_lpips_weights_come_with_torchmetrics() -> None:
    found = find_weights("lpips")
    assert found is not None
    assert hashlib.sha256(found.read_bytes()).hexdigest() == SOURCES["lpips"].sha256


def test_fetch_downloads_once_into_the_cache(
    server: Server, monkeypatch: pytest.MonkeyPatch, empty_machine: Path
) -> None:
    monkeypatch.setitem(SOURCES, "vgg16", Source(server.url, DIGEST, ("vgg.pth",)))
    assert fetch_weights("vgg16") == empty_machine / "vgg.pth"
    assert fetch_weights("vgg16").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_load_weights(tmp_path: Path) -> None:
    file = tmp_path / "state.pth"
    torch.save({"a": torch.arange(3)}, file)
    assert load_weights("vgg16", file)["a"].tolist() == [0, 1, 2]


def test_load_weights_errors(tmp_path: Path) -> None:
    file = tmp_path / "state.pth"
    with pytest.raises(UserError, match="no weights for vgg16 on this machine; allow the download"):
        load_weights("vgg16", download=False)
    with pytest.raises(UserError, match="no file"):
        load_weights("vgg16", file)
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="is not a file of tensors"):
        load_weights("vgg16", file)
    torch.save([1, 2], file)
    with pytest.raises(UserError, match="must hold a dict of tensors"):
        load_weights("vgg16", file)


class Evil:
    """Runs code when a pickle of it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("arbitrary code ran",)


def test_code_in_a_pickle_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="is not a file of tensors"):
        load_weights("vgg16", tmp_path / "evil.pth")
    assert "arbitrary" not in capsys.readouterr().out
