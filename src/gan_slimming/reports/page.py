"""A self-contained HTML page with style, script and images inside."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from torch import Tensor

from gan_slimming.data.files import write_atomically
from gan_slimming.reports.gallery import Gallery, Sample, gallery_of
from gan_slimming.reports.images import pixels_of

TEMPLATES = Path(__file__).parent / "template"
OWN = b"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Text in the head of every page, also of earlier versions."""


@dataclass(frozen=True)
class Card:
    """A key figure with its label."""

    value: str
    """The figure, such as '20 ×'."""
    label: str
    """Its label, such as 'less work'."""
    detail: str = ""
    """Its origin, such as '2.0 G to 0.1 G MACs'."""


@dataclass(frozen=True)
class Chart:
    """A chart with its caption."""

    title: str
    """Its title."""
    svg: str
    """An <svg> element of `charts`, `bars` or `heatmap`, which escape their text."""
    note: str = ""
    """Note on how to read it."""
    by_time: str = ""
    """The same chart over time, if `svg` is over steps."""


@dataclass(frozen=True)
class Table:
    """A table with its title."""

    title: str
    """Its title, which opens a folded table."""
    head: Sequence[str]
    """Its heading."""
    rows: Sequence[Sequence[str]]
    """Its rows; cells that begin with a digit are aligned as numbers."""
    folded: bool = False
    """Whether it is closed until the reader opens it."""
    prose: bool = False
    """Whether all cells are aligned as text, even those that begin with a digit."""


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading."""

    key: str
    """Its anchor."""
    title: str
    """Its heading."""
    charts: Sequence[Chart] = ()
    """Its charts, side by side if the screen is wide enough."""
    tables: Sequence[Table] = ()
    """Its tables, below the charts."""
    notes: Sequence[str] = ()
    """Paragraphs below the heading."""


@dataclass(frozen=True)
class Page:
    """The content of a page."""

    title: str
    """Its heading."""
    lead: str
    """The result in one sentence."""
    cards: Sequence[Card] = ()
    """Key figures."""
    gallery: Gallery | None = None
    """Images to compare."""
    before: str = "teacher"
    """The initial view on the left."""
    after: str = "student"
    """The initial view on the right."""
    sections: Sequence[Section] = ()
    """Its sections, in order."""
    warnings: Sequence[str] = ()
    """Warnings at the top, such as unreadable files."""
    notes: Sequence[str] = ()
    """Small print at the end."""
    progress: float | None = None
    """Share of finished steps, 0 to 1; None for a finished run."""


@dataclass(frozen=True)
class Row:
    """Images side by side, each (3, height, width) RGB in [-1, 1], of equal sizes."""

    name: str
    images: Sequence[Tensor]
    figures: dict[str, float] = field(default_factory=dict)


@functools.cache
def _template() -> Template:
    """Return the template of all pages, compiled once."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def render(page: Page) -> str:
    """Return the HTML of a page, with every text escaped."""
    return _template().render(
        page=page,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
        raw=Markup,
        is_number=is_number,
    )


def save_page(path: Path, page: Page) -> None:
    """Write the page atomically."""
    write_atomically(path, render(page).encode())


def is_own_page(path: Path) -> bool:
    """Return whether a file is a page of this package's, which shows only what is elsewhere."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return OWN in file.read(1024)


def write_page(
    path: Path,
    *,
    title: str,
    lead: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    table: Sequence[Sequence[str]],
    charts: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write a short page of images and one table.

    Args:
        columns: names of the images in a row; the last two are compared initially.
        table: its first row is the heading.
        charts: <svg> elements with escaped text.
        notes: the protocol of the figures.
    """
    samples = [
        Sample(
            row.name,
            {name: pixels_of(x) for name, x in zip(columns, row.images, strict=True)},
            row.figures,
        )
        for row in rows
    ]
    tables = [Table("", table[0], table[1:])]
    page = Page(
        title,
        lead,
        gallery=gallery_of(samples),
        before=columns[-2:][0],
        after=columns[-1],
        sections=[Section("figures", "Figures", [Chart("", svg) for svg in charts], tables)],
        notes=notes,
    )
    save_page(path, page)


def is_number(cell: str) -> bool:
    """Return whether a table cell is aligned as a number."""
    return cell[:1].isdigit() or cell[:1] in ("–", "−", "-") or not cell
