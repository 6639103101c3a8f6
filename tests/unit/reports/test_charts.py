"""Charts: every point where it belongs, text escaped, odd input drawn all the same."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from gan_slimming.reports.charts import (
    LEFT,
    MOST_POINTS,
    PLOT,
    RIGHT,
    curves,
    dots,
    frontier,
    scatter,
)
from gan_slimming.reports.svg import WIDTH


def path_of(svg: str) -> list[tuple[float, float]]:
    """The points of the only curve."""
    found = re.findall(r'<path d="M([^"]*)" class="line', svg)
    if found:
        return [tuple(map(float, pair.split())) for pair in found[0].split("L")]  # pyright: ignore
    return [(float(x), float(y)) for x, y in re.findall(r'cx="([^"]*)" cy="([^"]*)"', svg)]


def texts_of(svg: str) -> list[str | None]:
    return [element.text for element in ElementTree.fromstring(svg).iter("text")]


def test_a_curve_runs_from_corner_to_corner() -> None:
    points = path_of(curves("rises", {"line": [(0, 0.0), (5, 1.0), (10, 4.0)]}))
    bottom = points[0][1]
    assert points[0][0] == LEFT
    assert points[-1] == (WIDTH - RIGHT, bottom - PLOT)
    middle = (LEFT + (WIDTH - LEFT - RIGHT) / 2, bottom - 0.25 * PLOT)
    assert points[1] == pytest.approx(middle, abs=0.1)


@pytest.mark.parametrize(
    "points", [[(1, 2.0)], [(1, 0.0), (2, 0.0)], [(1, -3e9), (2, 5e9)], [(0, 1e-9), (1, 2e-9)]]
)
def test_odd_curves_stay_inside_and_are_whole_xml(points: list[tuple[float, float]]) -> None:
    svg = curves("odd", {"a": points})
    root = ElementTree.fromstring(svg)
    height = float(root.attrib["viewBox"].split()[3])
    for x, y in path_of(svg):
        assert LEFT <= x <= WIDTH - RIGHT
        assert 0 <= y <= height


@pytest.mark.parametrize("values", [(25.2, 33.0), (0.13, 0.19), (3.0, 3.0), (-4.0, 7.0)])
def test_every_curve_lies_between_two_numbers(values: tuple[float, float]) -> None:
    root = ElementTree.fromstring(curves("x", {"a": [(0, values[0]), (1, values[1])]}))
    shown = {
        float(t.attrib["y"]) - 4: float(t.text or "")
        for t in root.iter("text")
        if t.attrib["text-anchor"] == "end" and t.attrib.get("class") is None
    }
    assert min(shown.values()) <= values[0] <= values[1] <= max(shown.values())
    assert max(shown) - min(shown) == pytest.approx(PLOT)  # from the bottom to the top


def test_what_is_not_finite_is_left_out() -> None:
    svg = curves("diverged", {"a": [(1, 1.0), (2, math.nan), (3, math.inf), (4, 2.0)]})
    assert len(path_of(svg)) == 2
    assert "nan" not in svg
    assert "inf" not in svg
    assert "nothing recorded" in texts_of(curves("lost", {"a": [(1, math.nan)], "b": []}))


def test_a_long_curve_is_thinned_by_means() -> None:
    points = path_of(curves("long", {"a": [(i, float(i % 2)) for i in range(10 * MOST_POINTS)]}))
    assert len(points) == MOST_POINTS
    assert len({y for _, y in points}) == 1


def test_lines_have_their_names_and_names_are_escaped() -> None:
    svg = curves("<b>", {"one & two": [(0, 1.0)], "three": [(0, 2.0)]})
    assert {"one & two", "three"} <= set(texts_of(svg))
    assert ElementTree.fromstring(svg).attrib["aria-label"] == "<b>"


def test_levels_and_marks_lie_where_their_numbers_are() -> None:
    svg = curves("x", {"a": [(0, 0.0), (10, 4.0)]}, level=("budget", 1.0), mark=("cut", 5))
    bottom = path_of(svg)[0][1]
    (level,) = re.findall(r'<path d="M\d+ ([\d.]+)H\d+" class="level"', svg)
    (mark,) = re.findall(r'<path d="M([\d.]+) [\d.]+v\d+" class="mark"', svg)
    assert float(level) == pytest.approx(bottom - PLOT / 4, abs=0.1)
    assert float(mark) == pytest.approx(LEFT + (WIDTH - LEFT - RIGHT) / 2, abs=0.1)
    assert {"budget", "cut"} <= set(texts_of(svg))


def test_the_frontier_is_what_nothing_beats() -> None:
    points = [(1, 5.0), (2, 3.0), (3, 4.0), (4, 1.0), (2, 3.0)]
    assert frontier(points) == [(1, 5.0), (2, 3.0), (4, 1.0), (2, 3.0)]
    assert frontier(points, higher_is_better=True) == [(1, 5.0)]


def test_scattered_points_are_named_and_joined_along_the_frontier() -> None:
    points = [("a", 1.0, 3.0), ("b", 2.0, 1.0), ("worse", 3.0, 2.0), ("nan", 1.0, math.nan)]
    svg = scatter("quality", points, "MACs")
    root = ElementTree.fromstring(svg)
    assert len(list(root.iter("circle"))) == 3
    assert {"1 a", "2 b", "3 worse", "1", "2", "3"} <= set(texts_of(svg))
    (path,) = re.findall(r'<path d="M([^"]*)" class="frontier"', svg)
    assert path.count("L") == 1
    assert "nothing recorded" in texts_of(scatter("none", [], "MACs"))


def test_dots_do_not_hide_each_other_and_marked_ones_are_filled() -> None:
    svg = dots("LPIPS", [(f"{i}", 0.3, i == 0) for i in range(5)] + [("far", 0.9, True)], "LPIPS")
    circles = list(ElementTree.fromstring(svg).iter("circle"))
    assert len({(c.attrib["cx"], c.attrib["cy"]) for c in circles}) == 6
    assert sum("s1" in c.attrib["class"] for c in circles) == 2
