"""The record of a run: figures from its evaluation, the command from its settings."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from gan_slimming.cli.commands import compress
from gan_slimming.cli.parsing import parse
from gan_slimming.config import Budget, Objective, Optimisation, Run
from gan_slimming.errors import UserError
from gan_slimming.models import build_generator, spec_of
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.serialization.record_of_run import Told, read_evaluation, record_of_run

TOLD = Told("tiny", "MIT", "Ada's own", "Photos as drawings")
RUN = Run(
    budget=Budget(macs="0.05"),
    objective=Objective(adversarial="none"),
    optimisation=Optimisation(steps=None, minutes=10.0, width_multiple=16),
    bits=6,
    quantize_outputs=True,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the file in a finished run folder."""
    generator = build_generator("cartoongan", width=2, blocks=1).eval()
    file = tmp_path / "run" / "generator.safetensors"
    size = save_generator(
        generator, file, spec_of(generator), provenance={"teacher_sha256": "ab", "steps": 9}
    )
    record = {
        "generator": {"name": "cartoongan", "arguments": {}, "weights": "/home/ada/Hayao.pth"},
        "data": "/home/ada/photos",
        "targets": None,
        "run": dataclasses.asdict(RUN),
        "environment": {"commit": "c"},
    }
    (file.parent / "config.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(record))))
    summary = {"macs": 5, "parameters": 6, "size": 64, "steps": 9, "seconds": 2.5, "lpips": 0.5,
               "psnr": 20.0, "size_bytes": size, "protocol": {"images": 16}}  # fmt: skip
    (file.parent / "summary.json").write_text(json.dumps(summary))
    return file


def judged(size: int) -> dict[str, Any]:
    """Return an evaluation of two models, of which one has that size."""
    row = {"metric": "lpips", "low": 0.1, "high": 0.3, "images": 4, "direction": "lower",
           "unit": "", "protocol": {}}  # fmt: skip
    model = {"teacher": "cartoongan:/home/ada/H.pth", "parameters": 7, "macs": 8, "size": [16, 16]}
    return {
        "results": [row | {"model": "a", "value": 0.2}, row | {"model": "b", "value": 0.9}],
        "models": [
            model | {"model": "a", "size_bytes": size},
            model | {"model": "b", "size_bytes": 1},
        ],
        "protocol": {"data": "/home/ada/unseen", "against": "cartoongan:/home/ada/H.pth"},
        "environment": {"commit": "d"},
    }


def test_figures_are_those_of_the_evaluation(run: Path) -> None:
    record = record_of_run(run, TOLD, judged(run.stat().st_size))
    assert record.figures() == {"lpips": 0.2}
    assert (record.parameters, record.macs, record.size) == (7, 8, [16, 16])
    assert record.protocol == {"data": "unseen", "against": "cartoongan:H.pth"}
    assert record.teacher == {"weights": "Hayao.pth", "sha256": "ab"}
    assert record.training == {"steps": 9, "seconds": 2.5}
    assert "/home/ada" not in record.as_json()


def test_an_evaluation_of_another_file_is_refused(run: Path) -> None:
    with pytest.raises(
        UserError, match=r"the evaluation is of a \(17\), b \(1\), not of this file"
    ):
        record_of_run(run, TOLD, judged(17))


def test_without_one_the_figures_are_the_runs_own(run: Path) -> None:
    record = record_of_run(run, TOLD)
    assert record.figures() == {"lpips": 0.5, "psnr": 20.0}
    assert [row["direction"] for row in record.quality] == ["lower", "higher"]
    assert (record.parameters, record.macs, record.size) == (6, 5, [64, 64])


def test_the_command_says_what_was_asked(run: Path) -> None:
    words = shlex.split(record_of_run(run, TOLD).command)
    assert words[:2] == ["gan-slimming", "compress"]
    values = parse(compress, "gan-slimming compress", words[2:])
    assert values is not None
    settings, named = values[1]["run"], values[1]["named"]
    assert settings.optimisation == RUN.optimisation
    assert settings.objective == RUN.objective
    assert settings.budget == RUN.budget
    assert (settings.bits, settings.quantize_outputs) == (6, True)
    assert (str(named.weights), str(named.data)) == ("Hayao.pth", "photos")


def test_a_licence_is_an_identifier(run: Path) -> None:
    with pytest.raises(UserError, match="licence is 'MIT, probably'; a licence is named as SPDX"):
        record_of_run(run, dataclasses.replace(TOLD, licence="MIT, probably"))
    with pytest.raises(UserError, match="say under which licence"):
        record_of_run(run, dataclasses.replace(TOLD, licence=None))


def test_what_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    one = '{"results": [], "models": [{"model": "a"}], "protocol": {}}'
    for text in ("{", "[]", '{"results": 1, "models": []}', "{}", one):
        path.write_text(text)
        with pytest.raises(UserError, match="is no result of evaluate"):
            read_evaluation(path)
