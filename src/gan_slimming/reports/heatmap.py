"""Heat maps as inline SVG: values in rows that change over steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil

from gan_slimming.reports.charts import nothing
from gan_slimming.reports.svg import (
    WIDTH,
    label_width,
    number,
    rect,
    shortened,
    svg,
    text,
    text_width,
    ticks,
)

LINE = 11
"""Smallest distance between labels in SVG units; closer ones are left out."""
SHADES = 8
"""Number of colour steps, classes h0 (nothing) to h8."""


def heatmap(
    title: str,
    columns: Sequence[tuple[float, Sequence[float]]],
    labels: Sequence[str],
    x_label: str = "step",
    *,
    row: float = 8.0,
) -> str:
    """Return a heat map, darker for larger values.

    Args:
        columns: (x, values from the lowest row up, each 0 to 1), in ascending x.
        labels: labels of the rows from the lowest up; empty ones are left out.
        row: height of a row in SVG units.
    """
    if not columns or not labels:
        return nothing(title)
    height, left = row * len(labels), max(36.0, label_width(labels))
    xs = [x for x, _ in columns]
    edges = [xs[0], *((a + b) / 2 for a, b in pairwise(xs)), xs[-1]]
    if len(xs) == 1:
        edges = [xs[0] - 0.5, xs[0] + 0.5]
    unit = (WIDTH - left - 4) / ((edges[-1] - edges[0]) or 1)
    parts = [rect(left, 2, WIDTH - left - 4, height, "h0")]
    places = [round(left + (edge - edges[0]) * unit, 1) for edge in edges]
    for i in range(len(labels)):
        top = 2 + height - (i + 1) * row
        parts += _cells([cells[i] for _, cells in columns], places, top, row)
    parts += _names(labels, row, left)
    end = 0.0
    for x in ticks(xs[0], xs[-1]):
        if xs[0] <= x <= xs[-1]:
            end = left + (x - edges[0]) * unit
            parts.append(text(end, height + 17, number(x), anchor="middle"))
    beside = end + 30 + text_width(x_label) < WIDTH
    y = height + (17 if beside else 29)
    parts.append(text(WIDTH - 4, y, x_label, anchor="end", kind="quiet"))
    return svg(height + 32, title, parts)


def _cells(
    values: Sequence[float], places: Sequence[float], top: float, height: float
) -> list[str]:
    """Return the rectangles of one row, between the x positions of the edges."""
    shades = [max(0, min(SHADES, ceil(value * SHADES))) for value in values]
    return [
        rect(places[begin], top, places[end] - places[begin], height, f"h{shade}")
        for shade, begin, end in _stretches(shades)
        if shade
    ]


def _names(labels: Sequence[str], row: float, left: float) -> list[str]:
    """Return the labels beside their rows, from the lowest up."""
    parts, lowest = [], 2 * row * len(labels) + LINE
    for i, label in enumerate(labels):
        y = 6 + (len(labels) - i - 0.5) * row
        if label and y <= lowest - LINE:
            lowest = y
            parts.append(text(left - 6, y, shortened(label, left - 6), anchor="end"))
    return parts


def _stretches(shades: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield (shade, begin, end) of equal neighbours, because one rectangle has no gaps."""
    begin = 0
    for end in range(1, len(shades) + 1):
        if end == len(shades) or shades[end] != shades[begin]:
            yield shades[begin], begin, end
            begin = end
