"""Charts as inline SVG: curves, scatter plots with a Pareto frontier, and dot plots.

Pure functions from data to <svg> text, with every text escaped. Points that are not finite are left
out, so a run that diverged still has a chart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite

from gan_slimming.reports.svg import (
    WIDTH,
    legend,
    number,
    series,
    svg,
    text,
    text_width,
    ticks,
)

LEFT, RIGHT, BOTTOM = 46, 10, 30
PLOT = 170
"""Height of the plotted area in SVG units."""
MOST_POINTS = 200
"""Most points of a curve; longer ones are averaged over equal stretches."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Frame:
    """A plotted area, with the map from data to positions."""

    left: float
    """Smallest x."""
    right: float
    """Largest x."""
    levels: tuple[float, ...]
    """The y of the labelled lines; the area reaches from the first to the last."""
    top: float
    """Top edge of the area, below the legend."""

    @property
    def low(self) -> float:
        """Return the smallest y."""
        return self.levels[0]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the position of a data point in the chart."""
        across = (x - self.left) / ((self.right - self.left) or 1)
        up = (y - self.low) / ((self.levels[-1] - self.low) or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), self.top + (1 - up) * PLOT


def curves(
    title: str,
    lines: Mapping[str, Points],
    x_label: str = "step",
    *,
    level: tuple[str, float] | None = None,
    mark: tuple[str, float] | None = None,
) -> str:
    """Return a line chart.

    Args:
        lines: name -> (x, y) in ascending x; all share both axes.
        level: (name, y) of a dashed horizontal line, such as a budget.
        mark: (name, x) of a dashed vertical line, such as the end of a stage.
    """
    drawn = {name: thinned(points) for name, points in lines.items()}
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        return nothing(title)
    names = [(name, series(i)) for i, name in enumerate(drawn)]
    if level:
        names.append((level[0], "level"))
    parts, height = legend(names) if len(names) > 1 else ([], 0.0)
    ys = [y for points in drawn.values() for _, y in points] + ([level[1]] if level else [])
    xs = [x for points in drawn.values() for x, _ in points]
    frame = _frame(xs, ys, height + (18 if mark else 8))
    parts += _axes(frame, x_label)
    if level:
        _, row = frame.place(frame.left, level[1])
        parts.append(f'<path d="M{LEFT} {row:.1f}H{WIDTH - RIGHT}" class="level"/>')
    if mark and frame.left < mark[1] < frame.right:
        column, _ = frame.place(mark[1], frame.low)
        parts.append(f'<path d="M{column:.1f} {frame.top:.1f}v{PLOT}" class="mark"/>')
        half = text_width(mark[0]) / 2
        middle = min(max(column, LEFT + half), WIDTH - half)
        parts.append(text(middle, frame.top - 5, mark[0], anchor="middle", kind="quiet"))
    for i, points in enumerate(drawn.values()):
        parts.append(_line(frame, points, series(i)))
    return svg(frame.top + PLOT + BOTTOM, title, parts)


def scatter(
    title: str,
    points: Sequence[tuple[str, float, float]],
    x_label: str,
    *,
    higher_is_better: bool = False,
) -> str:
    """Return a chart of numbered points and their Pareto frontier.

    Args:
        points: (name, x, y); smaller x is better, and smaller y unless `higher_is_better`.
    """
    points = [p for p in points if isfinite(p[1]) and isfinite(p[2])]
    if not points:
        return nothing(title)
    numbered = [(f"{i + 1} {name}", series(i)) for i, (name, _, _) in enumerate(points)]
    parts, height = legend(numbered)
    frame = _frame([0.0] + [x for _, x, _ in points], [y for _, _, y in points], height + 8)
    parts += _axes(frame, x_label)
    best = sorted(frontier([(x, y) for _, x, y in points], higher_is_better=higher_is_better))
    if len(best) > 1:
        path = "L".join("{:.1f} {:.1f}".format(*frame.place(x, y)) for x, y in best)
        parts.append(f'<path d="M{path}" class="frontier"/>')
    for i, (name, x, y) in enumerate(points):
        column, row = frame.place(x, y)
        hint = escape(f"{name}: {number(x)}, {number(y)}")
        parts.append(
            f'<circle cx="{column:.1f}" cy="{row:.1f}" r="7.5" class="dot {series(i)}">'
            f"<title>{hint}</title></circle>"
        )
        parts.append(text(column, row + 3.5, str(i + 1), anchor="middle", kind="inside"))
    return svg(frame.top + PLOT + BOTTOM, title, parts)


def frontier(points: Points, *, higher_is_better: bool = False) -> list[tuple[float, float]]:
    """Return the Pareto-optimal points: no other is as good in both x and y and better in one."""
    sign = -1.0 if higher_is_better else 1.0

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        a, b = (one[0], sign * one[1]), (other[0], sign * other[1])
        return a != b and a[0] <= b[0] and a[1] <= b[1]

    return [(x, y) for x, y in points if not any(beats(other, (x, y)) for other in points)]


def dots(title: str, values: Sequence[tuple[str, float, bool]], x_label: str) -> str:
    """Return a dot plot: one dot per value, stacked where close, filled where marked.

    Args:
        values: (name, value, whether it is marked).
    """
    values = [v for v in values if isfinite(v[1])]
    if not values:
        return nothing(title)
    scale = ticks(min(v for _, v, _ in values), max(v for _, v, _ in values))
    low, high = scale[0], scale[-1]
    wide = (WIDTH - 36) / ((high - low) or 1)
    taken: dict[int, int] = {}
    parts, size = [], 9
    placed = []
    for name, value, marked in sorted(values, key=lambda v: v[1]):
        column = 18 + (value - low) * wide
        bin_ = int(column // size)
        placed.append((name, value, marked, bin_ * size + size / 2, taken.get(bin_, 0)))
        taken[bin_] = taken.get(bin_, 0) + 1
    base = max(taken.values()) * size + 8
    for name, value, marked, column, level in placed:
        kind = "dot s1" if marked else "dot rest"
        parts.append(
            f'<circle cx="{column:.1f}" cy="{base - size / 2 - level * size:.1f}" r="3.8" '
            f'class="{kind}"><title>{escape(f"{name}: {number(value)}")}</title></circle>'
        )
    parts.append(f'<path d="M0 {base + 1}H{WIDTH}" class="grid"/>')
    for tick in scale:
        parts.append(text(18 + (tick - low) * wide, base + 15, number(tick), anchor="middle"))
    parts.append(text(WIDTH, base + 29, x_label, anchor="end", kind="quiet"))
    return svg(base + 34, title, parts)


def nothing(title: str) -> str:
    """Return the placeholder of a chart without data."""
    return svg(60, title, [text(WIDTH / 2, 34, "nothing recorded", anchor="middle", kind="quiet")])


def thinned(points: Points) -> list[tuple[float, float]]:
    """Return at most MOST_POINTS means over neighbouring finite points."""
    points = [(x, y) for x, y in points if isfinite(x) and isfinite(y)]
    length = max(1, -(-len(points) // MOST_POINTS))
    stretches = (points[i : i + length] for i in range(0, len(points), length))
    return [
        (sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part))
        for part in stretches
    ]


def _frame(xs: Sequence[float], ys: Sequence[float], top: float) -> Frame:
    levels = ticks(min(ys), max(ys))
    return Frame(min(xs), max(xs), tuple(levels), top)


def _axes(frame: Frame, x_label: str) -> list[str]:
    parts = []
    for y in frame.levels:
        _, row = frame.place(frame.left, y)
        parts.append(f'<path d="M{LEFT} {row:.1f}H{WIDTH - RIGHT}" class="grid"/>')
        parts.append(text(LEFT - 6, row + 4, number(y), anchor="end"))
    base = frame.top + PLOT
    end = 0.0
    for x in ticks(frame.left, frame.right):
        if frame.left <= x <= frame.right:
            column, _ = frame.place(x, frame.low)
            parts.append(text(column, base + 15, number(x), anchor="middle"))
            end = column
    beside = end + 30 + text_width(x_label) < WIDTH - RIGHT
    parts.append(
        text(WIDTH - RIGHT, base + (15 if beside else 27), x_label, anchor="end", kind="quiet")
    )
    return parts


def _line(frame: Frame, points: Points, kind: str) -> str:
    places = [frame.place(x, y) for x, y in points]
    if len(places) == 1:
        column, row = places[0]
        return f'<circle cx="{column:.1f}" cy="{row:.1f}" r="3" class="dot {kind}"/>'
    path = "L".join(f"{column:.1f} {row:.1f}" for column, row in places)
    marks = ""
    if len(places) <= 12:
        marks = "".join(
            f'<circle cx="{c:.1f}" cy="{r:.1f}" r="2.4" class="dot {kind}"/>' for c, r in places
        )
    return f'<path d="M{path}" class="line {kind}"/>{marks}'
