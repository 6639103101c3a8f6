"""Parts that all charts are made of: text, axes, legends, colours. Sizes are SVG units.

Colours are classes (s1 to s6 for series), so that the page decides them, for light and for dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import floor, isfinite, log10

WIDTH = 360
"""Width of every chart: about what a phone shows, so that text is never scaled far down."""
LETTER = 6.3
"""Widest average advance of a letter at the text size of 11."""
SERIES = 6
"""Colours before they come round again."""
LEGEND_ROW = 16


def series(number: int) -> str:
    """Return the class of the colour of the series `number`, from 0."""
    return f"s{number % SERIES + 1}"


def svg(height: float, title: str, parts: Sequence[str]) -> str:
    """Return the <svg> element; `title` is what screen readers say."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "") -> str:
    """Return a line of text with its baseline at y; `kind` is a class of the page's style."""
    classed = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{classed}>{escape(content)}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str, hint: str = "") -> str:
    """Return a rectangle; `hint` is shown when it is pointed at."""
    box = f'x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}"'
    inside = f"<title>{escape(hint)}</title>" if hint else ""
    return f'<rect {box} class="{kind}">{inside}</rect>'


def text_width(content: str) -> float:
    """Return a width that the text does not exceed at size 11."""
    return len(content) * LETTER


def shortened(content: str, width: float) -> str:
    """Return the text made to fit `width`.

    Words of a dotted path become their first letter, from the left; numbers tell layers apart and
    stay. What is too long even then loses its middle.
    """
    most = max(3, int(width / LETTER))
    parts = content.split(".")
    for i in range(len(parts) - 1):
        if len(".".join(parts)) <= most:
            break
        parts[i] = parts[i] if parts[i].isdigit() else parts[i][:1]
    content = ".".join(parts)
    if len(content) <= most:
        return content
    front = (most - 1) // 2
    return content[:front] + "…" + content[len(content) - (most - 1 - front) :]


def label_width(names: Iterable[str], most: float = 150.0) -> float:
    """Return the room that a column of names takes, gap included."""
    return min(most, max((text_width(name) for name in names), default=0.0) + 8)


def legend(names: Sequence[tuple[str, str]], left: float = 0.0) -> tuple[list[str], float]:
    """Return (parts, height) of a legend that wraps, so that no two names overlap.

    Args:
        names: (name, class of its colour).
        left: where its rows begin.
    """
    parts, x, row = [], left, 0
    for name, kind in names:
        shown = shortened(name, WIDTH - left - 18)
        width = 16 + text_width(shown) + 12
        if x > left and x + width > WIDTH + 12:
            x, row = left, row + 1
        y = row * LEGEND_ROW
        parts.append(rect(x, y + 4, 10, 4, f"fill {kind}"))
        parts.append(text(x + 15, y + 11, shown, kind="legend"))
        x += width
    return parts, (row + 1) * LEGEND_ROW if names else 0.0


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Return some `most` round numbers that span low to high."""
    span = (high - low) or abs(high) or 1.0
    size = 10.0 ** floor(log10(span / (most - 1)))
    step = next(size * k for k in (1, 2, 5, 10, 20) if span / (size * k) <= most)
    first = floor(low / step)
    found = [first * step]
    while found[-1] < high - step * 1e-9 or len(found) < 2:
        first += 1
        found.append(first * step)
    return found


def number(value: float) -> str:
    """Return a number as short as an axis needs it: 0.25, 20 k, 1.5 M."""
    if value == 0 or not isfinite(value):
        return "0" if value == 0 else str(value)
    for unit, size, least in (("G", 1e9, 1e9), ("M", 1e6, 1e6), ("k", 1e3, 1e4)):
        if abs(value) >= least:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g}"


def duration(seconds: float) -> tuple[str, float]:
    """Return (unit, its length in seconds) in which a time of this length is read best."""
    units = (("h", 3600.0, 5400.0), ("min", 60.0, 90.0))
    return next(((name, size) for name, size, least in units if seconds >= least), ("s", 1.0))
