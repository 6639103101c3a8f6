"""inspect: rows add up to totals; quantised generators; generators that it cannot follow."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models import load_generator, spec_of
from gan_slimming.pruning.discovery import UnknownOperatorWarning
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.student.student import calibrate, prepare
from gan_slimming.student.surgery import extract
from gan_slimming.workflows.inspect import GroupsWarning, inspect, print_report

TEACHER = load_generator("cartoongan", width=4, blocks=2)


def test_rows_add_up_to_the_totals() -> None:
    report = inspect(TEACHER, 32)
    assert sum(row["macs"] for row in report["layers"]) == report["macs"]
    assert sum(row["parameters"] for row in report["layers"]) == report["parameters"]
    assert report["parameters"] == sum(p.numel() for p in TEACHER.parameters())
    assert report["paper_convention_macs"] > report["macs"]
    assert report["size_bytes"] is None
    json.dumps(report)


def test_groups_say_what_a_channel_costs_and_why_some_stay() -> None:
    groups = inspect(TEACHER, 32)["groups"]
    stays = {group["protected"] for group in groups}
    assert {"it is the input", "it is the output"} <= stays
    trunk = max(groups, key=lambda group: len(group["members"]))
    # One of the 16 channels of the residual stream: read by 2 blocks and deconv01_1, written by
    # 2 blocks and conv03_2, at 8 x 8 positions.
    readers_and_writers = 9 * 16 * (2 + 2 + 1) + 9 * 8
    assert trunk["channels"] == 16
    assert trunk["macs_per_channel"] == 64 * readers_and_writers


def test_a_norm_without_a_scale_holds_nothing_back() -> None:
    """A student gives it one, so that its channels can go."""
    generator = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(1, 8, affine=False), nn.ReLU(),
        nn.Conv2d(8, 3, 3, padding=1),
    )  # fmt: skip
    generator.contract = InputContract()  # pyright: ignore[reportArgumentType]
    found = inspect(generator, 16)["groups"]
    free = [row for row in found if not row["protected"]]
    assert [row["channels"] for row in free] == [8]


def test_a_quantised_file_shows_bits_bytes_and_groups(tmp_path: Path) -> None:
    example = (torch.rand(1, 3, 16, 16) * 2 - 1,)
    student = prepare(TEACHER, example, bits=8)
    calibrate(student, [example])
    path = tmp_path / "generator.safetensors"
    save_generator(extract(student), path, spec_of(TEACHER))
    report = inspect(tmp_path, 32)
    convolutions = [row for row in report["layers"] if row["type"] == "Conv2d"]
    assert {row["bits"] for row in convolutions} == {7}
    assert {row["bits"] for row in report["layers"] if "Norm" in row["type"]} == {32}
    assert report["size_bytes"] == path.stat().st_size
    plain = inspect(TEACHER, 32)
    assert (report["macs"], report["parameters"]) == (plain["macs"], plain["parameters"])
    assert sum(row["parameters"] for row in report["layers"]) == report["parameters"]
    assert len(report["groups"]) > 5


def test_a_size_that_does_not_fit_names_one_that_does() -> None:
    with pytest.raises(UserError, match="got 30; take 32"):
        inspect(TEACHER, 30)


def test_layers_are_shown_where_channels_cannot_be_followed() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            images = self.conv(images)
            return images if float(images.detach().sum()) > 0 else -images

    with pytest.warns(GroupsWarning, match="no channel groups: .* cannot be traced"):
        report = inspect(Odd(), 16)
    assert report["groups"] == []
    assert report["macs"] == 9 * 256


def test_an_operator_without_a_table_is_named_and_the_other_groups_are_shown() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.odd = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)
            self.last = nn.Conv2d(5, 3, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.last(torch.logcumsumexp(self.odd(self.first(images)), dim=1))

    with pytest.warns(UnknownOperatorWarning, match="'logcumsumexp' in the generator"):
        report = inspect(Odd(), 16)
    reasons = {row["name"]: row["protected"] for row in report["groups"]}
    assert reasons["first"] == ""
    assert reasons["odd"] == "operator 'logcumsumexp' is not understood"


def test_tables_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(inspect(TEACHER, 32))
    out, err = capsys.readouterr()
    assert out == ""
    assert "conv01_1" in err
    assert "it is the output" in err
