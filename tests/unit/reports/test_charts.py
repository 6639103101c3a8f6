"""Charts: every point where it belongs, text escaped, odd input drawn all the same."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from gan_slimming.reports.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    bars,
    curves,
)


def path_of(svg: str) -> list[tuple[float, float]]:
    """The points of the only curve."""
    (found,) = re.findall(r'<path d="M([^"]*)" fill="none"', svg)
    return [tuple(map(float, pair.split())) for pair in found.split("L")]  # pyright: ignore


def test_a_curve_runs_from_corner_to_corner() -> None:
    points = path_of(curves("rises", {"line": [(0, 0.0), (5, 1.0), (10, 4.0)]}))
    assert points[0] == (LEFT, HEIGHT - BOTTOM)
    assert points[-1] == (WIDTH - RIGHT, TOP)
    middle = (LEFT + (WIDTH - LEFT - RIGHT) / 2, TOP + 0.75 * (HEIGHT - TOP - BOTTOM))
    assert points[1] == pytest.approx(middle)


@pytest.mark.parametrize(
    "points", [[(1, 2.0)], [(1, 0.0), (2, 0.0)], [(1, -3e9), (2, 5e9)], [(0, 1e-9), (1, 2e-9)]]
)
def test_odd_curves_stay_inside_and_are_whole_xml(points: list[tuple[float, float]]) -> None:
    svg = curves("odd", {"a": points})
    ElementTree.fromstring(svg)
    for x, y in path_of(svg):
        assert LEFT <= x <= WIDTH - RIGHT
        assert TOP <= y <= HEIGHT - BOTTOM


def test_a_long_curve_is_thinned_by_means() -> None:
    points = path_of(curves("long", {"a": [(i, float(i % 2)) for i in range(10 * MOST_POINTS)]}))
    assert len(points) == MOST_POINTS
    assert len({y for _, y in points}) == 1


def test_lines_have_their_names_and_names_are_escaped() -> None:
    svg = curves("<b>", {"one & two": [(0, 1.0)], "three": [(0, 2.0)]})
    texts = [element.text for element in ElementTree.fromstring(svg).iter("text")]
    assert {"<b>", "one & two", "three"} <= set(texts)


def test_bars_are_as_long_as_their_numbers() -> None:
    rows = [("small", 1, 4), ("large <x>", 4, 8)]
    root = ElementTree.fromstring(bars("widths", rows))
    lengths = [float(element.attrib["width"]) for element in root.iter("rect")]
    assert lengths == pytest.approx(
        [lengths[2] / 2, lengths[2] / 8, lengths[2], lengths[2] / 2], abs=0.1
    )
    assert "1 of 4" in [element.text for element in root.iter("text")]


def test_bars_of_nothing_are_a_title() -> None:
    root = ElementTree.fromstring(bars("none", []))
    assert [element.text for element in root.iter("text")] == ["none"]
