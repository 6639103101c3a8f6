"""The list of shipped models, their cards, and the script that ships one."""

from __future__ import annotations

import json
import runpy
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

from gan_slimming.errors import UserError
from gan_slimming.models import build_generator, spec_of
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.serialization.model_record import read_record
from gan_slimming.workflows.models import models, print_table

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "benchmarks" / "ship_model.py"


def test_each_is_listed_with_its_costs_quality_licence_and_origin(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = models()
    assert told["cards"] == []
    for row in told["models"]:
        assert row["size_bytes"] == Path(row["file"]).stat().st_size
        assert row["macs"] > 0
        assert {"lpips", "psnr"} <= {figure["metric"] for figure in row["quality"]}
        assert row["licence"]
        assert row["origin"]
    print_table(told)
    assert "cartoon-hayao" in capsys.readouterr().err
    json.dumps(told, allow_nan=False)


def test_cards_are_written_and_not_replaced_unasked(tmp_path: Path) -> None:
    told = models(tmp_path / "cards")
    assert len(told["cards"]) == len(told["models"])
    text = (tmp_path / "cards" / "cartoon-hayao.md").read_text("utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["library_name"] == "gan-slimming"
    assert front["license"] == "mit"
    with pytest.raises(UserError, match="exists already"):
        models(tmp_path / "cards")


@pytest.fixture
def given(tmp_path: Path) -> Namespace:
    """Return the script's flags for a tiny generator."""
    generator = build_generator("cartoongan", width=2, blocks=1).eval()
    file = tmp_path / "run" / "generator.safetensors"
    size = save_generator(generator, file, spec_of(generator), provenance={"teacher_sha256": "ab"})
    row = {"model": "m", "metric": "lpips", "value": 0.5, "direction": "lower"}
    model = {"model": "m", "size_bytes": size, "parameters": 1, "macs": 2, "size": [8, 8]}
    judged = tmp_path / "judged.json"
    judged.write_text(json.dumps({"results": [row], "models": [model], "protocol": {}}))
    return Namespace(
        name="tiny", run=str(file.parent), evaluation=judged, licence="MIT", origin="Ada's",
        description="Small", command=None, any_size=False,
    )  # fmt: skip


def test_a_run_is_shipped_by_one_command(
    given: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = runpy.run_path(str(SCRIPT))
    place = tmp_path / "shipped"
    place.mkdir()
    target = script["ship"](given, place)
    assert target.read_bytes() == (Path(given.run) / "generator.safetensors").read_bytes()
    record = read_record(place / "tiny.json")
    assert (record.licence, record.figures()) == ("MIT", {"lpips": 0.5})
    # A better one later takes licence and origin from the record that is there.
    given.licence = given.origin = given.description = None
    script["ship"](given, place)
    assert read_record(place / "tiny.json") == record
    monkeypatch.setitem(script["ship"].__globals__, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="shipped models have 1,000 at most"):
        script["ship"](given, place)


def test_the_table_of_the_docs_is_current() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "make_models.py"))
    assert script["PAGE"].read_text("utf-8") == script["page"](), "run python docs/make_models.py"
