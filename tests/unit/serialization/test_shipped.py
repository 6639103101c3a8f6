"""What comes with the package: small files, each with a true record, under its name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from gan_slimming.data.download import file_sha256
from gan_slimming.errors import UserError
from gan_slimming.serialization.generator_file import read_header
from gan_slimming.serialization.resolve import model_file, resolve_model
from gan_slimming.serialization.shipped import (
    FOLDER,
    MOST_BYTES,
    shipped_file,
    shipped_names,
    shipped_record,
)

OLD = "cartoon_small"
LICENCES = {"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause"}


def test_there_are_models_and_nothing_else_in_their_folder() -> None:
    assert "cartoon-hayao" in shipped_names()
    assert {path.stem for path in FOLDER.iterdir()} == {*shipped_names(), OLD}


@pytest.mark.parametrize("name", shipped_names())
def test_a_record_is_that_of_its_file(name: str) -> None:
    record, file = shipped_record(name), shipped_file(name)
    assert file is not None
    assert record.name == name
    assert record.sha256 == file_sha256(file)
    assert record.size_bytes == file.stat().st_size
    assert record.size_bytes <= MOST_BYTES or name == OLD
    assert record.licence in LICENCES
    assert record.quality
    assert record.origin != "not told"
    assert record.teacher["sha256"] == read_header(file)["provenance"]["teacher_sha256"]


@pytest.mark.parametrize("name", shipped_names())
def test_no_file_tells_of_folders(name: str) -> None:
    file = FOLDER / f"{name}.json"
    texts = (file.read_text("utf-8"), json.dumps(read_header(FOLDER / f"{name}.safetensors")))
    assert not any(f"{root}/" in text for text in texts for root in ("/home", "/tmp", "/work"))


def test_a_name_is_a_model() -> None:
    module = resolve_model("cartoon-hayao")
    with torch.inference_mode():
        made = module(torch.rand(1, 3, 16, 16) * 2 - 1)
    assert made.shape == (1, 3, 16, 16)
    assert model_file("cartoon-hayao") == shipped_file("cartoon-hayao")


def test_what_lies_here_goes_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("cartoon-hayao")
    with pytest.raises(UserError, match="rename this folder for the shipped model of its name"):
        resolve_model("cartoon-hayao")


def test_a_slip_is_put_right() -> None:
    with pytest.raises(
        UserError, match=r"no such model: cartoon-hayo; did you mean cartoon-hayao\?"
    ):
        resolve_model("cartoon-hayo")
    with pytest.raises(UserError, match=r"no model called 'hay' is shipped; take one of cartoon"):
        shipped_record("hay")
