"""A file for as many sizes as can be: all, multiples of pixels, or a single one, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.export.trace.widest import widest

CONTRACT = InputContract(multiple_of=4)


class Writer:
    """Writes what `takes` allows, and notes down what it was asked for."""

    def __init__(self, *, step: int = 1, single: bool = False, batch: bool = True) -> None:
        self.step, self.single, self.batch = step, single, batch
        self.asked: list[tuple[InputContract, bool]] = []

    def __call__(self, contract: InputContract, alone: bool) -> tuple[InputContract, bool]:
        self.asked.append((contract, alone))
        if not (contract.size or (not self.single and contract.multiple_of % self.step == 0)):
            raise UserError("it names a height")
        if not self.batch and not alone:
            raise UserError("it names a batch")
        return contract, alone


def test_all_that_the_generator_takes_comes_first() -> None:
    writer = Writer()
    assert widest(writer, CONTRACT, 64) == ((CONTRACT, False), "")
    assert len(writer.asked) == 1


def test_multiples_come_before_a_single_size_and_the_reason_is_kept() -> None:
    assert widest(Writer(step=32), CONTRACT, 64) == (
        (replace(CONTRACT, multiple_of=32), False), "it names a height",
    )  # fmt: skip
    assert widest(Writer(step=24), InputContract(multiple_of=12), 48)[0][0].multiple_of == 24
    single = (replace(CONTRACT, size=64), False)
    assert widest(Writer(single=True), CONTRACT, 64) == (single, "it names a height")


def test_a_file_of_single_images_comes_last() -> None:
    assert widest(Writer(batch=False), CONTRACT, 64) == ((CONTRACT, True), "it names a batch")
    made, _ = widest(Writer(single=True, batch=False), CONTRACT, 64)
    assert made == (replace(CONTRACT, size=64), True)


def test_a_single_size_can_be_asked_for() -> None:
    writer = Writer()
    made = widest(writer, CONTRACT, 64, fixed_size=True)
    assert made == ((replace(CONTRACT, size=64), False), "")
    assert len(writer.asked) == 1
    noise = InputContract(latent_size=5)
    assert widest(Writer(), noise, 64, fixed_size=True) == ((noise, False), "")


def test_what_cannot_be_written_at_all_says_the_first_reason() -> None:
    def refuses(contract: InputContract, alone: bool) -> None:
        raise UserError(f"no {contract.size} {alone}")

    with pytest.raises(UserError, match="no 0 False"):
        widest(refuses, CONTRACT, 64)
