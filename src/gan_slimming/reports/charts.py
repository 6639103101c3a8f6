"""Charts as inline SVG, for a page that needs nothing else: curves over steps, bars of widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import floor, log10

COLOURS = ("#0b62a4", "#c2410c", "#15803d", "#7c3aed")
WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 26, 34
MOST_POINTS = 400
"""A longer curve is thinned out by means over equal stretches."""

Points = Sequence[tuple[float, float]]


def curves(title: str, lines: Mapping[str, Points], x_label: str = "step") -> str:
    """A line chart.

    Args:
        lines: name -> (x, y) in ascending x; all share both axes. At least one point in all.
    Returns:
        An <svg> element, its text escaped.
    """
    drawn = {name: _thinned(points) for name, points in lines.items() if points}
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    across, up = _ticks(min(xs), max(xs)), _ticks(min(ys), max(ys))
    left, right = min(xs), max(xs)
    low, high = min(up[0], min(ys)), max(up[-1], max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        wide = (x - left) / ((right - left) or 1)
        tall = (y - low) / ((high - low) or 1)
        return (
            LEFT + wide * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - tall * (HEIGHT - TOP - BOTTOM),
        )

    parts = [_text(LEFT, 16, title, weight="600")]
    for y in up:
        _, row = place(left, y)
        parts.append(f'<path d="M{LEFT} {row:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, row + 4, _number(y), anchor="end"))
    for x in (x for x in across if left <= x <= right):
        column, _ = place(x, low)
        parts.append(_text(column, HEIGHT - BOTTOM + 16, _number(x), anchor="middle"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 4, x_label, anchor="end"))
    for place_in_legend, (name, points) in enumerate(drawn.items()):
        colour = COLOURS[place_in_legend % len(COLOURS)]
        path = "L".join("{:.1f} {:.1f}".format(*place(x, y)) for x, y in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        if len(points) == 1:
            column, row = place(*points[0])
            parts.append(f'<circle cx="{column:.1f}" cy="{row:.1f}" r="3" fill="{colour}"/>')
        if len(drawn) > 1:
            at = WIDTH - RIGHT - 110 * (len(drawn) - place_in_legend - 1)
            parts.append(_text(at, 16, name, anchor="end", colour=colour))
    return _svg(HEIGHT, title, parts)


def bars(title: str, rows: Sequence[tuple[str, int, int]]) -> str:
    """Horizontal bars of a part in a whole: (name, part, whole), all on one scale."""
    step, label = 18, 170
    widest = max((whole for _, _, whole in rows), default=1) or 1
    unit = (WIDTH - label - 90) / widest
    parts = [_text(0, 16, title, weight="600")]
    for place, (name, part, whole) in enumerate(rows):
        top = 26 + place * step
        parts.append(_text(label - 6, top + 11, name[-26:], anchor="end"))
        for size, colour in ((whole, "#ddd"), (part, COLOURS[0])):
            parts.append(
                f'<rect x="{label}" y="{top}" width="{size * unit:.1f}" height="13" '
                f'fill="{colour}"/>'
            )
        parts.append(_text(label + whole * unit + 6, top + 11, f"{part} of {whole}"))
    return _svg(34 + len(rows) * step, title, parts)


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        f'font-family="system-ui, sans-serif" font-size="12">{"".join(parts)}</svg>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    weight: str = "400",
    colour: str = "#444",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Some four round numbers that span low to high."""
    span = (high - low) or abs(high) or 1.0
    size = 10.0 ** floor(log10(span / 3))
    step = next(size * k for k in (1, 2, 5, 10) if span / (size * k) <= 4)
    first = floor(low / step)
    ticks = [first * step]
    while ticks[-1] < high:
        first += 1
        ticks.append(first * step)
    return ticks


def _number(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):g} {unit}"
    return f"{value:.4g}"


def _thinned(points: Points) -> list[tuple[float, float]]:
    """At most MOST_POINTS of them, each the mean of its neighbours."""
    length = -(-len(points) // MOST_POINTS)
    stretches = (points[i : i + length] for i in range(0, len(points), length))
    return [
        (sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part))
        for part in stretches
    ]
