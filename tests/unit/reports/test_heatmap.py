"""Heat maps: cells where they belong, as dark as their values, alike ones in one piece."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from gan_slimming.reports.heatmap import heatmap


def cells(svg: str) -> list[tuple[str, float, float, float]]:
    """(shade, x, y, width) of what is drawn over the ground."""
    rects = list(ElementTree.fromstring(svg).iter("rect"))[1:]
    keys = ("x", "y", "width")
    return [(r.attrib["class"], *(float(r.attrib[k]) for k in keys)) for r in rects]  # pyright: ignore


def test_cells_are_as_dark_as_their_values() -> None:
    svg = heatmap("gates", [(1, [0.0, 1.0]), (2, [0.01, 0.5])], ["low", "high"])
    found = {shade: (x, y) for shade, x, y, _ in cells(svg)}
    assert set(found) == {"h8", "h1", "h4"}
    assert found["h8"][1] < found["h1"][1]  # the last row is the highest
    assert found["h8"][0] < found["h4"][0]


def test_neighbours_that_are_alike_are_one_piece_and_leave_no_gap() -> None:
    svg = heatmap("gates", [(i, [1.0 if i < 5 else 0.4]) for i in range(10)], ["all"])
    (_, x, _, width), (_, following, _, _) = cells(svg)
    assert x + width == pytest.approx(following, abs=0.05)


@pytest.mark.parametrize("columns", [[], [(3, [2.0, -1.0])]])
def test_odd_maps_are_whole_xml(columns: list[tuple[float, list[float]]]) -> None:
    root = ElementTree.fromstring(heatmap("<odd>", columns, ["a", ""]))
    assert root.attrib["aria-label"] == "<odd>"
    assert "nan" not in ElementTree.tostring(root, encoding="unicode")
