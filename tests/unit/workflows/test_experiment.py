"""Tables: smoke of every system, rows that are kept, that fail, and that go on."""

from __future__ import annotations

import importlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from torch import Tensor

from gan_slimming.errors import Interrupted, UserError
from gan_slimming.experiments.cec_species import GeneratorSpecies
from gan_slimming.experiments.folder import TableFolder
from gan_slimming.experiments.systems import system_names
from gan_slimming.models import PatchDiscriminator, build_generator
from gan_slimming.workflows import experiment_row
from gan_slimming.workflows.experiment import experiment

compress_workflow = importlib.import_module("gan_slimming.workflows.compress")
ROWS = ["gs-8", "cp-d-then-q", "gd", "ptq"]


def smoke(output: Path, rows: list[str], name: str = "cyclegan", **options: Any) -> dict[str, Any]:
    return experiment(name, output, scale="smoke", rows=rows, **options)


@pytest.mark.parametrize("name", system_names())
def test_every_system_has_a_table(name: str, tmp_path: Path) -> None:
    result = smoke(tmp_path / "table", ["gs-8"], name)
    (row,) = result["rows"]
    assert row["steps"] == 4
    record = json.loads((tmp_path / "table/records/gs-8.json").read_text())
    assert row["macs"] < record["teacher"]["macs"]
    assert record["images"] in (3, 8)
    assert str(tmp_path) not in json.dumps({**record, "command": ""})


def test_rows_of_several_stages_and_kinds_get_the_same_steps(tmp_path: Path) -> None:
    output = tmp_path / "table"
    seen: list[str] = []
    result = smoke(output, ROWS, on_row=lambda number, rows, what: seen.append(f"{number}/{rows}"))
    assert seen == ["1/4", "2/4", "3/4", "4/4"]
    assert [row["row"] for row in result["rows"]] == ROWS
    assert [row["steps"] for row in result["rows"]] == [4, 4, 4, 0]
    joint, cascade = (json.loads((output / f"records/{r}.json").read_text()) for r in ROWS[:2])
    assert cascade["cost"]["macs"] <= 0.4 * cascade["teacher"]["macs"]
    assert [s["steps"] for s in cascade["stages"]] == [3, 1]
    assert [s["settings"]["bits"] for s in cascade["stages"]] == [None, 8]
    assert cascade["cost"]["size_bytes"] < 0.4 * cascade["teacher"]["size_bytes"]
    assert joint["teacher"]["sha256"] == cascade["teacher"]["sha256"]
    before = {path: path.stat().st_mtime_ns for path in (output / "records").iterdir()}
    again = smoke(output, ROWS, on_row=lambda *_: pytest.fail("a finished row runs again"))
    assert again["rows"] == result["rows"]
    assert {path: path.stat().st_mtime_ns for path in (output / "records").iterdir()} == before
    table = (output / "table.md").read_text()
    assert all(f"| {row} |" in table for row in ROWS)
    assert "<svg" in (output / "report.html").read_text()


def test_a_failed_row_is_named_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "broken.yaml"
    own.write_text("bits: 8\nobjective: {adversarial: lsgan}\n")
    compress = experiment_row.compress

    def failing(*given: Any, **named: Any) -> Any:
        if "broken" in str(given[2]):
            raise RuntimeError("not enough\nof it")
        return compress(*given, **named)

    monkeypatch.setattr(experiment_row, "compress", failing)
    reason = r"1 of 2 rows failed \(broken: RuntimeError: not enough of it\)"
    with pytest.raises(UserError, match=reason):
        smoke(tmp_path / "table", [str(own), "gs-32"])
    assert not (tmp_path / "table/records/broken.json").exists()
    assert (tmp_path / "table/records/gs-32.json").is_file()
    assert "- broken failed: RuntimeError" in (tmp_path / "table/table.md").read_text()
    monkeypatch.undo()
    assert len(smoke(tmp_path / "table", [str(own), "gs-32"])["rows"]) == 2


def test_an_interrupted_row_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = smoke(tmp_path / "whole", ["cp-then-d"])["rows"][0]
    train = compress_workflow.train

    def stopped(trainer: Any, folder: Any) -> Any:
        if "2-compress" in str(folder):
            trainer.context.on_step = lambda *_: os.kill(os.getpid(), signal.SIGINT)
        return train(trainer, folder)

    monkeypatch.setattr(compress_workflow, "train", stopped)
    with pytest.raises(Interrupted, match=r"stopped in row cp-then-d; go on with gan-slimming exp"):
        smoke(tmp_path / "table", ["cp-then-d"])
    monkeypatch.undo()
    first = tmp_path / "table/rows/cp-then-d/1-compress/summary.json"
    written = first.stat().st_mtime_ns
    row = smoke(tmp_path / "table", ["cp-then-d"])["rows"][0]
    assert first.stat().st_mtime_ns == written
    assert {**row, "seconds": 0} == {**whole, "seconds": 0}


def test_both_directions_evolve_against_the_discriminator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = {
        "there": build_generator("cyclegan", width=4, blocks=2),
        "back": build_generator("cyclegan", width=4, blocks=2),
        "judge": PatchDiscriminator(4, 2),
    }
    for name, network in networks.items():
        save_file(network.state_dict(), tmp_path / f"{name}.safetensors")
    data, test = TableFolder(tmp_path / "a").smoke_images(0)
    targets, _ = TableFolder(tmp_path / "b").smoke_images(1)
    given = {
        "weights": tmp_path / "there.safetensors", "partner": tmp_path / "back.safetensors",
        "discriminator": f"patchgan:{tmp_path / 'judge.safetensors'}",
        "data": data, "test": test, "targets": targets,
    }  # fmt: skip
    changes = {key: str(value) for key, value in given.items()}
    cycles: list[float] = []
    cycle = GeneratorSpecies.cycle

    def noted(species: GeneratorSpecies, mask: Tensor, partner: Tensor) -> float:
        cycles.append(cycle(species, mask, partner))
        return cycles[-1]

    monkeypatch.setattr(GeneratorSpecies, "cycle", noted)
    (row,) = smoke(tmp_path / "table", ["cec"], "cyclegan-maps", changes=changes)["rows"]
    record = json.loads((tmp_path / "table/records/cec.json").read_text())
    assert len(cycles) == 2 * 2  # two individuals of each direction, one generation
    assert min(cycles) > 0
    assert row["macs"] <= 0.4 * record["teacher"]["macs"]


@pytest.mark.slow
def test_every_method_runs_on_a_generator_of_noise(tmp_path: Path) -> None:
    result = smoke(tmp_path / "table", [], "dcgan")
    assert len(result["rows"]) == 13


def test_a_table_needs_its_own_teacher_and_images(tmp_path: Path) -> None:
    given = {"weights": "no.pth", "data": str(tmp_path), "test": str(tmp_path)}
    with pytest.raises(UserError, match=r"the teacher's weights, --weights"):
        experiment("cartoongan", tmp_path / "t", changes=given)
    assert not (tmp_path / "t").exists()
    smoke(tmp_path / "t", ["ptq"])
    with pytest.raises(UserError, match=r"holds rows with another .*seed"):
        smoke(tmp_path / "t", ["ptq"], changes={"seed": 1})
    with pytest.raises(UserError, match="methods are cec"):
        smoke(tmp_path / "t", ["gs-9"])
