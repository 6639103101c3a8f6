"""The record of a model: it comes back as it was, and nothing in a file is trusted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gan_slimming.errors import UserError
from gan_slimming.serialization.model_record import ModelRecord, read_record, write_record

RECORD = ModelRecord(
    name="tiny-1",
    description="Photos as drawings",
    licence="MIT",
    origin="Ada's own",
    generator="cartoongan(width=2, blocks=1)",
    takes="images",
    teacher={"weights": "Hayao.pth", "sha256": "ab"},
    command="gan-slimming compress",
    training={"steps": 3, "seconds": 1.5},
    sha256="0" * 64,
    size_bytes=100,
    parameters=10,
    macs=20,
    size=[32, 48],
    quality=[{"metric": "lpips", "value": 0.25, "low": 0.2, "high": 0.3, "direction": "lower"}],
    protocol={"data": "photos"},
    environment={},
    date="2026-11-30",
)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    write_record(tmp_path / "model.json", RECORD)
    assert read_record(tmp_path / "model.json") == RECORD
    assert RECORD.figures() == {"lpips": 0.25}


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("name", "../../etc", "name is '../../etc'"),
        ("name", "Über", "name is"),
        ("licence", "MIT\x1b[31m", "characters that cannot be printed"),
        ("description", "two\nlines", "characters that cannot be printed"),
        ("sha256", "abc", "sha256 is 'abc'"),
        ("size_bytes", 0, "not a positive whole number"),
        ("size_bytes", True, "size_bytes is 'True'"),
        ("macs", "20", "macs is '20'"),
        ("size", [1], "size is"),
        ("takes", "pickles", "takes is 'pickles'"),
        ("date", "yesterday", "date is 'yesterday'"),
        ("quality", [3], "a row of quality is '3'"),
        ("quality", [{"metric": "a b", "value": 1, "direction": "lower"}], "a metric is 'a b'"),
        ("quality", [{"metric": "x", "direction": "lower"}], "no value"),
        ("origin", None, "origin is 'None'"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, field: str, value: Any, text: str) -> None:
    content = json.loads(RECORD.as_json()) | {field: value}
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        read_record(tmp_path / "model.json")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    for content, text in (
        ("[]", "it is a list"),
        ("{", "is no record of a model"),
        ("{}", "no name"),
        ("[" * 100_000, "is no record of a model"),
        (" " * 2**20 + "{}", "more than 1,048,576 bytes"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=text):
            read_record(path)
    with pytest.raises(UserError, match="is no record of a model"):
        read_record(tmp_path / "absent.json")


def test_a_wrong_record_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name is"):
        write_record(tmp_path / "model.json", replace(RECORD, name="A B"))
    assert not (tmp_path / "model.json").exists()
