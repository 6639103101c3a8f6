"""Methods: every file that is shipped, and what is refused in one of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from gan_slimming.cli.commands import compress
from gan_slimming.cli.parsing import parse
from gan_slimming.errors import UserError
from gan_slimming.experiments.cec import Evolution
from gan_slimming.experiments.files import file_of
from gan_slimming.experiments.methods import (
    Stage,
    budget_of,
    load_method,
    merged,
    method_names,
    run_of,
)

LITERATURE = {
    "cec", "cp", "cp-d-then-q", "cp-then-d", "d", "d-then-cp", "gd", "gs-32", "gs-8",
    "gs-8-no-gan", "gs-8-quantized-discriminator", "ptq", "qat",
}  # fmt: skip


def test_the_methods_are_those_of_the_literature() -> None:
    assert set(method_names()) == LITERATURE


@pytest.mark.parametrize("name", sorted(LITERATURE))
def test_each_method_says_what_it_is_and_trains_for_its_whole_share(name: str) -> None:
    method = load_method(name)
    assert len(method.summary) > 20
    shares = [stage.share for stage in method.stages if stage.make == "compress"]
    assert not shares or sum(shares) == pytest.approx(1)
    if method.stages[-1].make == "compress":
        run = run_of(method.stages[-1].settings)
        assert (run.bits is None) == (name not in ("qat", "cp-d-then-q") and "gs-8" not in name)


@pytest.mark.parametrize(
    "name", ["gs-8", "gs-8-no-gan", "gs-8-quantized-discriminator", "gs-32", "cp"]
)
def test_a_method_of_one_run_is_a_config_of_compress(name: str) -> None:
    argv = ["--config", str(file_of("methods", name)), "--output", "run"]
    values = parse(compress, "gan-slimming compress", argv)
    assert values is not None
    ours = run_of(load_method(name).stages[0].settings)
    run = values[1]["run"]
    assert run.objective == ours.objective
    assert run.optimisation == ours.optimisation
    assert run.bits == ours.bits


def test_cec_has_its_authors_settings() -> None:
    assert load_method("cec").stages[0].parsed() == Evolution()


def test_pruning_alone_knows_no_teacher() -> None:
    objective = run_of(load_method("cp").stages[0].settings).objective
    terms = (objective.distill_weight, objective.pixel_weight, objective.colour_weight,
             objective.lattice_weight, objective.feature_distillation_weight)  # fmt: skip
    assert terms == (0, 0, 0, 0, 0)
    assert objective.adversarial == "lsgan"


def test_budgets_of_stages() -> None:
    assert budget_of({"macs": 0.04}, "goal", 1e9).macs == 0.04
    assert budget_of({"macs": 0.04}, "halfway", 1e9).macs == pytest.approx(0.2)
    assert budget_of({"macs": "40M"}, "halfway", 1e9).macs == pytest.approx(0.2)
    assert budget_of({"macs": 0.04}, "none", 1e9).kind is None


def test_changes_are_merged_into_groups() -> None:
    base = {"size": 256, "objective": {"distill": "l1", "pixel_weight": 1}}
    assert merged(base, {"objective": {"distill": "vgg19"}, "size": 64}) == {
        "size": 64, "objective": {"distill": "vgg19", "pixel_weight": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a\n", "settings of compress, or a list of stages"),
        ("stages: []\n", "at least one stage"),
        ("stages: [{make: compress}]\nbits: 8\n", "stands alone"),
        ("stages: [{make: shrink}]\n", "a stage makes one of compress"),
        ("stages: [{share: 2}]\n", "share must be in"),
        ("stages: [{budget: all}]\n", "budget is goal, halfway, none"),
        ("bitz: 8\n", "there is no setting bitz"),
        ("objective: {distil: l1}\n", "there is no setting objective.distil"),
        ("objective: 3\n", "objective must be a list of 'name: value', got 3"),
        ("stages: [{make: narrow, settings: {channels: 2}}]\n", "narrow.channels must be in"),
        ("stages: [{make: evolve, settings: {population: many}}]\n", "wrong kind of value"),
    ],
)
def test_a_wrong_file_is_named_with_its_mistake(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=reason) as error:
        load_method(str(file))
    assert str(file) in str(error.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"methods are cec, .* got gs-9"):
        load_method("gs-9")


def test_a_stage_that_does_not_train_takes_only_its_own_settings() -> None:
    with pytest.raises(UserError, match=r"there is no setting quantize\.bit"):
        Stage(make="quantize", settings={"bit": 8})
