"""Settings: checked where they are made, and every refusal is one line that says what to do."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gan_slimming.config import (
    PAPER,
    Budget,
    ExtraInput,
    InputContract,
    Memory,
    Objective,
    Optimisation,
    Run,
    Target,
    bits_of_weights,
    parse_amount,
)
from gan_slimming.errors import UserError


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.05, 0.05), (1, 1.0), ("0.1", 0.1), ("300k", 3e5), ("2.5M", 2.5e6), ("1G", 1e9),
     ("300kB", 3e5), (250_000, 2.5e5), ("1e-2", 0.01)],
)  # fmt: skip
def test_amounts_are_read(value: str | float, expected: float) -> None:
    assert parse_amount("budget.macs", value) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0, -1, 1.5, 5, 99, 500, "5%", "lots", "", "nan", "1e", True])
def test_amounts_that_make_no_sense_are_refused(value: str | float) -> None:
    with pytest.raises(UserError, match=r"^budget\.macs must be in \(0, 1\]"):
        Budget(macs=value)


def test_a_percentage_is_refused_with_the_fraction_to_write() -> None:
    with pytest.raises(UserError) as caught:
        Budget(5)
    assert str(caught.value) == (
        "budget.macs must be in (0, 1] or an amount such as 300k, got 5; write 0.05 for 5 %"
    )


def test_zero_is_refused_with_an_example() -> None:
    with pytest.raises(UserError) as caught:
        Budget(bytes=0)
    assert str(caught.value) == (
        "budget.bytes must be in (0, 1] or an amount such as 300k, got 0; write 0.05 for 5 %"
    )


def test_two_budgets_are_refused() -> None:
    with pytest.raises(UserError, match=r"got budget\.macs and budget\.bytes"):
        Budget(macs=0.1, bytes=0.1)


def test_a_fraction_is_of_the_whole_and_an_amount_is_itself() -> None:
    assert Budget(macs=0.25).amount(1000) == 250
    assert Budget(bytes="300k").amount(1000) == 300_000
    assert (Budget().kind, Budget(parameters=0.5).kind) == (None, "parameters")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Optimisation(steps=0), "steps must be at least 1, got 0"),
        (lambda: Optimisation(slim_share=1.0), "slim_share must be between 0 and 1, got 1.0"),
        (lambda: Optimisation(lr=0.0), "lr must be above 0, got 0.0"),
        (lambda: Optimisation(ema=1.0), "ema must be in [0, 1), got 1.0"),
        (lambda: Optimisation(batch_size=0), "batch_size must be at least 1, got 0"),
        (
            lambda: Objective(distill_weight=-1),
            "objective.distill_weight must be 0 or more, got -1",
        ),
        (lambda: Objective(rho=0.0), "rho must be above 0, such as 0.01, got 0.0"),
        (lambda: Run(bits=1), "bits must be 2 to 8, or none, got 1"),
        (lambda: Run(workers=-1), "workers must be 0 to 1024, got -1"),
        (
            lambda: Memory(images=2),
            "memory.images must be an amount of memory such as 500M or 2G, or 0; got 2",
        ),
        (lambda: Memory(answers="much"), "memory.answers must be an amount of memory"),
        (
            lambda: Memory(answers_on="ram"),  # pyright: ignore[reportArgumentType]
            "memory.answers_on must be device or disk, got ram",
        ),
        (lambda: Run(size=8), "size must be at least 32 pixels, got 8"),
        (lambda: InputContract(colour_order="GBR"), "must be 'RGB' or 'BGR', got 'GBR'"),
        (lambda: InputContract(low=1.0, high=0.0), "low must be below high"),
        (lambda: InputContract(scale=256), "scale must be 1 to 64 for images, got 256"),
        (
            lambda: InputContract(signal=True, extras=(ExtraInput("mask"),)),
            "beside a signal there is a class, a label or a vector, no image",
        ),
        (
            lambda: InputContract(latent_size=8, extras=(ExtraInput("image"),)),
            "beside a noise vector there is a class, a label or a vector, no image",
        ),
        (
            lambda: InputContract(extras=(ExtraInput("noise", 4),)),
            "an ExtraInput('noise') stands beside a signal; take 'vector'",
        ),
        (lambda: InputContract(sample_rate=0), "sample_rate must be 1 to 1048576, got 0"),
        (
            lambda: InputContract(signal=True, size=32).check_side(64),
            "takes signals of 32 frames only, got size 64; write --size 32",
        ),
    ],
)
def test_refusals_name_the_setting_what_came_and_what_to_write(
    make: Callable[[], object], text: str
) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("amount", "count"),
    [(0, 0), ("0", 0), (4096, 4096), ("500M", 5e8), ("1.5 GiB", 1.5e9), ("2g", 2e9)],
)
def test_memory_is_given_in_bytes_or_with_a_unit(amount: str | int, count: float) -> None:
    assert Memory(images=amount).image_bytes == Memory(answers=amount).answer_bytes == count


def test_a_budget_and_rho_exclude_each_other() -> None:
    with pytest.raises(
        UserError, match="name a budget, a target or rho, only one of them; got a b"
    ):
        Run(budget=Budget(macs=0.1), objective=Objective(rho=0.01))


@pytest.mark.parametrize("given", [{"lpips": 0.0}, {"lpips": 1.0}, {"flip": -1}, {"psnr": 100}])
def test_a_target_out_of_range_is_refused_with_an_example(given: dict[str, float]) -> None:
    with pytest.raises(
        UserError, match=r"^target\.\w+ must be above 0 and below 10*, got .*; such"
    ):
        Target(**given)


def test_one_goal_is_named() -> None:
    with pytest.raises(UserError, match=r"name one target, got target\.lpips and target\.psnr"):
        Target(lpips=0.1, psnr=20)
    others: list[dict[str, Any]] = [
        {"budget": Budget(macs=0.1)}, {"objective": Objective(rho=0.01)},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(UserError, match="name a budget, a target or rho, only one of them"):
            Run(target=Target(lpips=0.1), **other)
    assert (Target().kind, Target(flip=0.2).kind, Target(flip=0.2).value) == (None, "flip", 0.2)


def test_a_run_goes_by_steps_or_by_the_clock() -> None:
    assert (Optimisation().steps, Optimisation().minutes) == (3000, None)
    assert (Optimisation(minutes=5).steps, Optimisation(steps=5).minutes) == (None, None)
    with pytest.raises(UserError, match="name steps or minutes, not both: got 5 steps, 2 minutes"):
        Optimisation(steps=5, minutes=2)
    for wrong in (0, -1, float("inf"), float("nan")):
        with pytest.raises(UserError, match="minutes must be"):
            Optimisation(minutes=wrong)


def test_settings_are_read_back_from_records_of_any_version() -> None:
    for run in (Run(target=Target(psnr=24), optimisation=Optimisation(minutes=3)), Run()):
        assert Run.from_record(dataclasses.asdict(run)) == run
    old = dataclasses.asdict(Run())
    del old["target"], old["optimisation"]["minutes"]
    assert Run.from_record(old) == Run()


def test_settings_cannot_change_after_they_were_checked() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Run().size = 8  # pyright: ignore


def test_the_papers_values_are_settings_and_pass_the_checks() -> None:
    run = Run(
        objective=Objective(**PAPER["objective"]),
        optimisation=Optimisation(**PAPER["optimisation"]),
    )
    assert (run.objective.distill_weight, run.optimisation.gate_lr) == (20.0, 0.1)


def test_weights_have_seven_bits_unless_told_otherwise() -> None:
    """Two products of an unsigned byte with them fit into 16 bits, on any CPU."""
    assert 2 * 255 * (2 ** (bits_of_weights(8, None) - 1) - 1) < 2**15
    assert [bits_of_weights(*given) for given in ((8, None), (8, 8), (4, None))] == [7, 8, 4]
    with pytest.raises(UserError, match="weight_bits must be 2 to 8, got 9"):
        Run(weight_bits=9)
    with pytest.raises(UserError, match="quantize_outputs needs bits"):
        Run(bits=None, quantize_outputs=True)


def test_settings_load_without_torch() -> None:
    program = "import sys, gan_slimming.config; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_settings_take_their_names_of_version_0_1() -> None:
    with pytest.warns(FutureWarning, match="hidden_weight is called feature_distillation_weight"):
        old = Objective(hidden_weight=2.0)  # pyright: ignore[reportCallIssue]
    assert old == Objective(feature_distillation_weight=2.0)


def test_a_contract_knows_the_sides_that_fit() -> None:
    contract = InputContract(multiple_of=4, min_size=8)
    assert [contract.takes(side) for side in (4, 8, 10, 12)] == [False, True, False, True]
    assert [contract.next_side(side) for side in (1, 8, 9, 12)] == [8, 8, 12, 12]


def test_an_argument_under_both_names_is_refused() -> None:
    with (
        pytest.warns(FutureWarning, match="hidden_weight is called"),
        pytest.raises(UserError, match="are one; give feature_distillation_weight alone"),
    ):
        Objective(hidden_weight=1.0, feature_distillation_weight=2.0)  # pyright: ignore[reportCallIssue]
