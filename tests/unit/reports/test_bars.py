"""Bars are as long as their numbers, ranges begin at their zero, nothing leaves the chart."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from gan_slimming.reports.bars import RangeRow, parts_of, ranges, values
from gan_slimming.reports.svg import WIDTH, text_width


def bars_of(svg: str, kind: str) -> list[tuple[float, float]]:
    """(x, width) of every bar of a class, those of the legend left out."""
    rects = [r for r in ElementTree.fromstring(svg).iter("rect") if kind in r.attrib["class"]]
    return [
        (float(r.attrib["x"]), float(r.attrib["width"]))
        for r in rects
        if float(r.attrib["height"]) > 4
    ]


def test_parts_are_as_long_as_their_numbers() -> None:
    svg = parts_of("widths", [("small", 1, 4), ("large <x>", 4, 8)])
    whole = [width for _, width in bars_of(svg, "whole")]
    part = [width for _, width in bars_of(svg, "s1")]
    assert [whole[0], *part] == pytest.approx([whole[1] / 2, whole[1] / 8, whole[1] / 2], abs=0.1)
    texts = list(ElementTree.fromstring(svg).iter("text"))
    assert {"1 of 4", "4 of 8", "large <x>"} <= {t.text for t in texts}
    for text in texts:
        if text.attrib["text-anchor"] == "start":
            assert float(text.attrib["x"]) + text_width(text.text or "") <= WIDTH


def test_a_spread_lies_around_the_end_of_its_bar() -> None:
    svg = values("latency", [("a", 10.0, 2.0), ("b", 20.0, 0.0)], "ms")
    (_, first), (_, second) = bars_of(svg, "s1")
    assert second == pytest.approx(2 * first, abs=0.2)
    lines = [p.attrib["d"] for p in ElementTree.fromstring(svg).iter("path")]
    start, end = (float(x) for x in (lines[0][1:].split()[0], lines[0].split("H")[1]))
    assert (start + end) / 2 == pytest.approx(first, abs=0.1)


def test_ranges_begin_at_zero_and_are_cut_off_where_they_leave_the_chart() -> None:
    rows = [
        RangeRow("unsigned", 0.0, 4.0, 0.0, 2.0, 0.0),
        RangeRow("signed", -1.0, 1.0, -0.5, 99.0, 0.125),
    ]
    svg = ranges("activations", rows)
    (zero, first), (left, second) = bars_of(svg, "s1")
    assert second == pytest.approx(2 * first, abs=0.2)
    assert left + second / 2 == pytest.approx(zero, abs=0.2)
    lines = [
        p.attrib["d"] for p in ElementTree.fromstring(svg).iter("path") if "s2" in p.attrib["class"]
    ]
    ends = [float(line.split("H")[1]) for line in lines]
    assert ends[0] == pytest.approx(zero + first / 2, abs=0.1)
    assert ends[1] <= WIDTH - 52
    assert "12.50%" in [t.text for t in ElementTree.fromstring(svg).iter("text")]


@pytest.mark.parametrize("svg", [parts_of("a", []), values("b", [], "ms"), ranges("c", [])])
def test_nothing_is_said_to_be_nothing(svg: str) -> None:
    assert [t.text for t in ElementTree.fromstring(svg).iter("text")] == ["nothing recorded"]
