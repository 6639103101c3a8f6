"""What counts when a preset, a config file and flags speak of the same setting."""

from pathlib import Path
from typing import Any

import pytest

from gan_slimming.cli.commands import compress, demo
from gan_slimming.cli.export_commands import export
from gan_slimming.cli.model_commands import inspect, translate
from gan_slimming.cli.parsing import parse
from gan_slimming.cli.source import Source, options
from gan_slimming.config import PAPER, Named, Objective, Optimisation, Run
from gan_slimming.errors import UserError


def values(*argv: str) -> dict[str, Any]:
    """Return what compress gets: its own arguments, the settings of the run, and its parts."""
    parsed = parse(compress, "gan-slimming compress", ["--output", "o", *argv])
    assert parsed is not None
    return {**parsed[1], **vars(parsed[1]["run"]), **vars(parsed[1]["named"])}


def test_defaults_are_those_of_the_dataclasses() -> None:
    given = values()
    assert given["run"] == Run()
    assert given["named"] == Named()
    assert given["output"] == Path("o")


def test_the_papers_preset_is_the_released_setting() -> None:
    given = values("--preset", "paper")
    assert given["objective"] == Objective(**PAPER["objective"])
    assert given["optimisation"] == Optimisation(**PAPER["optimisation"])
    assert given["weight_bits"] == PAPER["weight_bits"] == 8


def test_flags_overrule_the_config_file_which_overrules_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "preset: paper\nsteps: 7\nbatch_size: 3\nbits: none\nprotect: [a.*]\n"
        "optimisation: {lr: 0.5, recover_lr: 0.25}\nbudget: {macs: 0.05}\n"
    )
    given = values("--config", str(file), "--steps", "9", "--optimisation.lr", "0.125")
    settings = given["optimisation"]
    assert (settings.steps, settings.batch_size) == (9, 3)
    assert (settings.lr, settings.recover_lr) == (0.125, 0.25)
    assert settings.ema == PAPER["optimisation"]["ema"]
    assert given["objective"].distill_weight == 20.0
    assert given["bits"] is None
    assert given["protect"] == ["a.*"]
    assert given["budget"].amount(100) == pytest.approx(5.0)


def test_a_flag_given_as_a_default_value_still_overrules_the_preset() -> None:
    given = values("--preset", "paper", "--optimisation.warmup", str(Optimisation().warmup))
    assert given["optimisation"].warmup == Optimisation().warmup != PAPER["optimisation"]["warmup"]


@pytest.mark.parametrize(
    "flags",
    [
        ("--batch-size", "5"),
        ("--batch_size", "5"),
        ("--batch_size=5",),
        ("--optimisation.batch_size", "5"),
        ("--optimisation.batch-size=5",),
        ("--optimization.batch_size", "5"),
    ],
)
def test_spellings_of_a_flag(flags: tuple[str, ...]) -> None:
    assert values(*flags)["optimisation"].batch_size == 5


def test_the_long_form_on_the_command_line_overrules_the_short_one_in_the_file(
    tmp_path: Path,
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("steps: 7\n")
    given = values("--config", str(file), "--optimisation.steps", "8")
    assert given["optimisation"].steps == 8


def test_values_of_every_shape() -> None:
    given = values(
        *("--generator-args", '{"width": 32}', "--protect", "a", "b.*", "--resume"),
        *("--optimisation.betas", "[0.1, 0.2]", "--rho", "0.01", "--bits", "4", "--overwrite"),
        *("--export", "onnx,openvino"),
    )
    assert given["exports"] == ("onnx", "openvino")
    assert given["generator_args"] == {"width": 32}
    assert given["protect"] == ["a", "b.*"]
    assert given["resume"] is given["overwrite"] is True
    assert given["optimisation"].betas == (0.1, 0.2)
    assert given["objective"].rho == 0.01
    assert given["bits"] == 4


def test_positional_arguments_and_the_other_spelling_of_colours() -> None:
    line = ["m", "a.jpg", "b", "--output", "o", "--match-colors"]
    parsed = parse(translate, "gan-slimming translate", line)
    assert parsed is not None
    assert parsed[0] == ["m", ["a.jpg", "b"]]
    assert parsed[1]["match_colours"] is True


def test_a_command_without_groups_keeps_a_flag_of_the_same_name_as_a_short_one() -> None:
    parsed = parse(demo, "gan-slimming demo", ["--steps", "3"])
    assert parsed is not None
    assert parsed[1]["steps"] == 3


def test_a_flat_group_of_flags_comes_as_one_value() -> None:
    line = ["m", "--weights", "w.pth", "--generator", "a.b:c", "--generator-args", '{"width": 3}']
    parsed = parse(inspect, "gan-slimming inspect", line)
    assert parsed is not None
    assert parsed[1]["source"] == Source(Path("w.pth"), "a.b:c", {"width": 3})
    assert options(None) == {"weights": None, "factory": None, "arguments": None}
    empty = parse(inspect, "gan-slimming inspect", ["m"])
    assert empty is not None
    assert empty[1]["source"] == Source()


def test_names_of_version_0_1_still_work_with_one_line_each(tmp_path: Path) -> None:
    with pytest.warns(FutureWarning, match="feature_distillation_weight now") as told:
        given = values("--objective.hidden_weight", "1.5")
    assert len(told) == 1
    assert given["objective"] == Objective(feature_distillation_weight=1.5)
    file = tmp_path / "run.yaml"
    file.write_text("objective: {hidden_weight: 2.5}\n")
    with pytest.warns(FutureWarning, match="feature_distillation_weight now"):
        given = values("--config", str(file))
    assert given["objective"] == Objective(feature_distillation_weight=2.5)
    for old, now in (("float", "none"), ("qdq", "qdq")):
        with pytest.warns(FutureWarning, match="--form is called --quantization now"):
            parsed = parse(export, "gan-slimming export", ["m", "--output", "o", "--form", old])
        assert parsed is not None
        assert parsed[1]["quantization"] == now


def test_a_flag_overrules_the_old_name_in_a_file_and_both_as_flags_are_refused(
    tmp_path: Path,
) -> None:
    new = ["--objective.feature_distillation_weight", "1.0"]
    file = tmp_path / "run.yaml"
    file.write_text("objective: {hidden_weight: 2.5}\n")
    with pytest.warns(FutureWarning, match="feature_distillation_weight now"):
        given = values("--config", str(file), *new)
    assert given["objective"] == Objective(feature_distillation_weight=1.0)
    with pytest.raises(UserError, match=r"hidden_weight and .* one flag; give --objective.feature"):
        values("--objective.hidden_weight=2", *new)
