"""Parts of all charts: text, rectangles, legends, ticks and colours. Sizes are in SVG units.

Colours are CSS classes (s1 to s6 for series), so that the page sets them for light and dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import floor, isfinite, log10

WIDTH = 360
"""Width of every chart: about that of a phone, so that text is never scaled far down."""
LETTER = 6.3
"""Upper bound of a letter's average width at the text size of 11."""
SERIES = 6
"""Number of colours before they repeat."""
LEGEND_ROW = 16


def series(number: int) -> str:
    """Return the colour class of series `number`, from 0."""
    return f"s{number % SERIES + 1}"


def svg(height: float, title: str, parts: Sequence[str]) -> str:
    """Return the <svg> element; `title` is the text for screen readers."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "") -> str:
    """Return a line of text with its baseline at y; `kind` is a class of the page's style."""
    classed = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{classed}>{escape(content)}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str, hint: str = "") -> str:
    """Return a rectangle; `hint` is its tooltip."""
    box = f'x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}"'
    inside = f"<title>{escape(hint)}</title>" if hint else ""
    return f'<rect {box} class="{kind}">{inside}</rect>'


def text_width(content: str) -> float:
    """Return an upper bound of the text's width at size 11."""
    return len(content) * LETTER


def shortened(content: str, width: float) -> str:
    """Return the text shortened to `width`.

    The words of a dotted path become their first letters, from the left. Numbers stay, because they
    distinguish layers. A text that is still too long loses its middle.
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
    """Return the width of a column of names, gap included."""
    return min(most, max((text_width(name) for name in names), default=0.0) + 8)


def legend(names: Sequence[tuple[str, str]], left: float = 0.0) -> tuple[list[str], float]:
    """Return (parts, height) of a legend that wraps without overlaps.

    Args:
        names: (name, colour class).
        left: left edge of the rows.
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
    """Return about `most` round numbers that span low to high."""
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
    """Return a number as short text for an axis: 0.25, 20 k, 1.5 M."""
    if value == 0 or not isfinite(value):
        return "0" if value == 0 else str(value)
    for unit, size, least in (("G", 1e9, 1e9), ("M", 1e6, 1e6), ("k", 1e3, 1e4)):
        if abs(value) >= least:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g}"


def duration(seconds: float) -> tuple[str, float]:
    """Return (unit, its length in seconds) that suits a time of `seconds`."""
    units = (("h", 3600.0, 5400.0), ("min", 60.0, 90.0))
    return next(((name, size) for name, size, least in units if seconds >= least), ("s", 1.0))
