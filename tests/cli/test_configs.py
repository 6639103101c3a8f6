"""Every published configuration is one that the command understands."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from gan_slimming.cli.commands import compress
from gan_slimming.cli.parsing import parse
from gan_slimming.cli.teacher_command import teacher
from gan_slimming.config.teacher import TeacherSettings, teacher_settings

FIELDS = {field.name for field in fields(TeacherSettings)} - {"name", "scale"}
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_the_configuration_parses(config: Path) -> None:
    argv = ["--config", str(config), "--data", "photos", "--output", "run"]
    values = parse(compress, "gan-slimming compress", argv)
    assert values is not None
    run = values[1]["run"]
    assert values[1]["named"].generator in ("cartoongan", "cyclegan")
    assert run.budget.kind == "macs" or run.objective.rho == 0.01


def test_the_paper_preset_reaches_the_settings() -> None:
    config = next(path for path in CONFIGS if path.stem == "paper")
    argv = ["--config", str(config), "--data", "photos", "--output", "run"]
    values = parse(compress, "gan-slimming compress", argv)
    assert values is not None
    run = values[1]["run"]
    assert run.objective.distill_weight == 20
    assert run.optimisation.lr == 1e-5
    assert run.optimisation.recover_lr == 1e-4
    assert run.optimisation.weight_decay == 1e-3
    assert run.activation_range == 4.0


def test_a_target_and_minutes_can_stand_in_a_file(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("generator: cartoongan\ntarget: {lpips: 0.1}\nminutes: 60\n")
    argv = ["--config", str(config), "--data", "photos", "--output", "run", "--target.lpips", "0.2"]
    values = parse(compress, "gan-slimming compress", argv)
    assert values is not None
    run = values[1]["run"]
    assert run.target.value == 0.2
    assert (run.optimisation.minutes, run.optimisation.steps) == (60, None)


TEACHERS = sorted((Path(__file__).parents[2] / "configs" / "teachers").glob("*.yaml"))


@pytest.mark.parametrize("config", TEACHERS, ids=lambda path: path.stem)
def test_the_configuration_of_a_teacher_is_complete(config: Path) -> None:
    lines = [line.lstrip("# ") for line in config.read_text().splitlines() if line[0] == "#"]
    command = " ".join(lines).replace("\\ ", "").partition("gan-slimming teacher ")[2]
    name, *words = command.split()
    words[words.index("--config") + 1] = str(config)
    values = parse(teacher, "gan-slimming teacher", [name, *words])
    assert values is not None
    given = {key: value for key, value in values[1].items() if key in FIELDS}
    assert teacher_settings(name, values[1]["scale"], given).seed == 0
