"""Parts of charts: names that fit, legends that do not overlap, ticks that span."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from gan_slimming.reports.svg import (
    LETTER,
    WIDTH,
    duration,
    legend,
    number,
    shortened,
    svg,
    text_width,
    ticks,
)


@pytest.mark.parametrize(
    "names",
    [
        ["distance", "terms of the loss"],
        ["a" * 30, "b" * 30, "c" * 30, "d"],
        ["one that is far too long for any legend, whatever is done to it " * 3, "short"],
        [f"run-{i}" for i in range(20)],
    ],
)
def test_legends_never_overlap_and_stay_inside(names: list[str]) -> None:
    parts, height = legend([(name, "s1") for name in names])
    root = ElementTree.fromstring(svg(height, "legend", parts))
    texts = list(root.iter("text"))
    assert len(texts) == len(names)
    rows: dict[float, list[tuple[float, float]]] = {}
    for element in texts:
        start, y = float(element.attrib["x"]), float(element.attrib["y"])
        assert y <= height
        rows.setdefault(y, []).append((start, start + text_width(element.text or "")))
    for spans in rows.values():
        assert all(end <= WIDTH for _, end in spans)
        spans.sort()
        for (_, end), (start, _) in pairwise(spans):
            assert start - 15 >= end  # the next one's colour lies between them


def test_layers_of_one_kind_keep_what_tells_them_apart() -> None:
    names = [f"blocks.{i}.branch.conv_1" for i in range(12)]
    short = [shortened(name, 16 * LETTER) for name in names]
    assert len(set(short)) == 12
    assert short[3] == "b.3.b.conv_1"
    assert all(len(name) <= 16 for name in short)
    assert shortened("in_1", 100) == "in_1"
    assert shortened("x" * 40, 10 * LETTER) == "xxxx…xxxxx"


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (3, 3), (0, 0), (-2e-9, 5e-9), (1e12, 3e12), (-7, -6.5)]
)
def test_ticks_span_what_they_are_for(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high * (1 - 1e-9)
    assert len(found) <= 7
    steps = [b - a for a, b in pairwise(found)]
    assert steps == pytest.approx([steps[0]] * len(steps)) if steps else low == high


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.25, "0.25"), (1500, "1500"), (2.5e4, "25 k"), (3e9, "3 G")]
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert number(value) == shown


def test_durations_have_the_unit_that_is_read_best() -> None:
    assert [duration(s)[0] for s in (80, 100, 5300, 5500)] == ["s", "min", "min", "h"]
