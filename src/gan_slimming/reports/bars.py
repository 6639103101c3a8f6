"""Horizontal bars as inline SVG: parts of a whole, values such as latencies, and ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gan_slimming.reports.charts import nothing
from gan_slimming.reports.svg import (
    WIDTH,
    label_width,
    legend,
    number,
    rect,
    shortened,
    svg,
    text,
    text_width,
)

ROW = 17
BAR = 11
REACH = 1.6
"""Limit of a range chart, in units of the larger end of the representable range."""


@dataclass(frozen=True)
class RangeRow:
    """A row of a range chart: one layer."""

    name: str
    """Label of the row."""
    low: float
    """Smallest representable value."""
    high: float
    """Largest representable value."""
    seen_low: float
    """Smallest observed value."""
    seen_high: float
    """Largest observed value."""
    clipped: float
    """Share of clipped values, 0 to 1."""


def parts_of(
    title: str,
    rows: Sequence[tuple[str, float, float]],
    *,
    kept: str = "kept",
    whole: str = "teacher",
) -> str:
    """Return a bar chart of parts in wholes, all on one scale; rows are (name, part, whole)."""
    if not rows:
        return nothing(title)
    parts, top = legend([(kept, "s1"), (whole, "whole")])
    notes = [f"{part} of {total}" for _, part, total in rows]
    room = max(text_width(note) for note in notes)
    left = label_width(name for name, _, _ in rows)
    unit = (WIDTH - left - room - 6) / max(1, *(total for _, _, total in rows))
    for i, ((name, part, total), note) in enumerate(zip(rows, notes, strict=True)):
        y = top + 6 + i * ROW
        parts.append(text(left - 6, y + 9, shortened(name, left - 6), anchor="end"))
        parts.append(rect(left, y, total * unit, BAR, "whole fill"))
        share = part / total if total else 0
        parts.append(rect(left, y, part * unit, BAR, "s1 fill", f"{name}: {note}, {share:.0%}"))
        parts.append(text(left + total * unit + 6, y + 9, note, kind="quiet"))
    return svg(top + 10 + len(rows) * ROW, title, parts)


def values(title: str, rows: Sequence[tuple[str, float, float]], unit: str) -> str:
    """Return a bar chart of (name, value, spread), the spread as a line around the bar's end."""
    if not rows:
        return nothing(title)
    notes = [f"{number(round(value, 2))} {unit}" for _, value, _ in rows]
    room = max(text_width(note) for note in notes)
    scale = (WIDTH - room - 14) / (max(value + spread for _, value, spread in rows) or 1)
    parts = []
    for i, ((name, value, spread), note) in enumerate(zip(rows, notes, strict=True)):
        y = i * (ROW + 18)
        parts.append(text(0, y + 12, shortened(name, WIDTH)))
        parts.append(rect(0, y + 17, value * scale, BAR, "s1 fill", f"{name}: {note}"))
        ends = (value - spread) * scale, (value + spread) * scale
        parts.append(f'<path d="M{ends[0]:.1f} {y + 22.5}H{ends[1]:.1f}" class="spread"/>')
        parts.append(text(ends[1] + 6, y + 26, note, kind="quiet"))
    return svg(len(rows) * (ROW + 18) + 4, title, parts)


def ranges(title: str, rows: Sequence[RangeRow]) -> str:
    """Return a chart of representable (bar) and observed (line) ranges, each in units of its bar.

    The right column is the share of clipped values.
    """
    if not rows:
        return nothing(title)
    parts, top = legend([("representable", "s1 soft"), ("observed", "s2"), ("share clipped", "s5")])
    clip = 52.0
    left = label_width(row.name for row in rows)
    area = WIDTH - left - clip
    zero, unit = left + area * 0.5, area * 0.5 / REACH
    signed = any(row.low < 0 for row in rows)
    if not signed:
        zero, unit = left, area / REACH
    for i, row in enumerate(rows):
        y = top + 6 + i * ROW
        size = max(abs(row.low), abs(row.high)) or 1.0
        low, high, first, last = (
            zero + max(-REACH, min(REACH, value / size)) * unit
            for value in (row.low, row.high, row.seen_low, row.seen_high)
        )
        hint = (
            f"{row.name}: {number(row.low)} to {number(row.high)}, "
            f"observed {number(row.seen_low)} to {number(row.seen_high)}"
        )
        parts.append(text(left - 6, y + 9, shortened(row.name, left - 6), anchor="end"))
        parts.append(rect(low, y, high - low, BAR, "s1 fill soft", hint))
        parts.append(f'<path d="M{first:.1f} {y + BAR / 2:.1f}H{last:.1f}" class="line s2"/>')
        kind = "clip" if row.clipped >= 0.0005 else "quiet"
        parts.append(text(WIDTH, y + 9, f"{row.clipped:.2%}", anchor="end", kind=kind))
    bottom = top + 6 + len(rows) * ROW
    parts.append(f'<path d="M{zero:.1f} {top + 2:.1f}V{bottom:.1f}" class="grid"/>')
    return svg(bottom + 4, title, parts)
