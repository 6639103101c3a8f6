"""Systems: every file that is shipped, at every scale, and the user's changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_slimming.errors import UserError
from gan_slimming.experiments.methods import run_of
from gan_slimming.experiments.systems import SCALES, found, listed, load_system, system_names
from gan_slimming.models import build_generator, registered


@pytest.mark.parametrize("name", system_names())
@pytest.mark.parametrize("scale", SCALES)
def test_every_system_loads_at_every_scale(name: str, scale: str) -> None:
    system = load_system(name, scale, {})
    assert system.generator in registered()
    assert system.summary
    assert (system.weights is None) == (scale == "smoke")
    assert run_of(system.settings).size >= 32
    assert next(iter(system.budget)) in ("macs", "parameters", "bytes")


@pytest.mark.parametrize("name", system_names())
def test_smoke_is_small_and_needs_no_file(name: str) -> None:
    system = load_system(name, "smoke", {})
    generator = build_generator(system.generator, **system.arguments)
    assert sum(p.numel() for p in generator.parameters()) < 200_000
    assert not any((system.data, system.test, system.targets, system.discriminator))
    assert system.steps == 4


def test_the_user_overrules_the_file() -> None:
    system = load_system("cartoongan", "cpu", {"steps": 7, "seed": 3, "data": None})
    assert (system.steps, system.minutes, system.seed) == (7, None, 3)
    assert system.data == "photos256/bsds500"


def test_a_budget_of_another_kind_takes_the_place_of_the_files() -> None:
    assert load_system("dcgan", "cpu", {"budget": {"bytes": "300k"}}).budget == {"bytes": "300k"}


def test_unknown_names_and_scales_are_refused() -> None:
    with pytest.raises(UserError, match=r"systems are adaptive-style, .* got nothing"):
        load_system("nothing", "cpu", {})
    with pytest.raises(UserError, match="scale must be one of smoke, cpu, full, got large"):
        load_system("dcgan", "large", {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("generator: dcgan\n", "no scales"),
        ("generator: dcgan\nscales: {full: {steps: 3}}\n", "no scale cpu; it has full"),
        ("generator: dcgan\nscales: {cpu: {steps: 3}}\n", "name the teacher's weights"),
        ("generator: dcgan\nweights: a\nscales: {cpu: }\n", "either steps or minutes"),
        ("generator: dcgan\nweights: a\nscales: {cpu: {step: 3}}\n", "there is no setting step"),
        ("generator: dcgan\nweights: a\nrows: [x]\nscales: {cpu: {steps: 3}}\n", "got x"),
        ("generator: dcgan\nweights: a\nbudget: {}\nscales: {cpu: {steps: 3}}\n", "a budget"),
        ("weights: a\nscales: {cpu: {steps: 3}}\n", "generator"),
    ],
)
def test_a_wrong_file_is_named_with_its_mistake(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=reason) as error:
        load_system(str(file), "cpu", {})
    assert str(file) in str(error.value)


def test_files_are_searched_in_the_folder_of_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GAN_SLIMMING_DATA", raising=False)
    with pytest.raises(UserError, match=r"a/b.pth \(the teacher\) is not here, .* is not set; ask"):
        found("a/b.pth", "the teacher", "ask")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.pth").touch()
    monkeypatch.setenv("GAN_SLIMMING_DATA", str(tmp_path))
    assert found("a/b.pth", "the teacher") == tmp_path / "a/b.pth"


def test_the_list_names_each_system_and_method_with_what_it_is() -> None:
    rows = listed()
    assert {"cartoongan", "gs-8"} <= {row["name"] for row in rows}
    assert all(row["summary"] for row in rows)
