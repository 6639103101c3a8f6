"""One self-contained page from its parts: style, script and images inside, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from gan_slimming.reports.gallery import Gallery, Sample, gallery_of
from gan_slimming.reports.images import pixels_of

TEMPLATES = Path(__file__).parent / "template"


@dataclass(frozen=True)
class Card:
    """A key figure."""

    value: str
    """The figure, such as '20 ×'."""
    label: str
    """What it is, such as 'less work'."""
    detail: str = ""
    """What it is made of, such as '2.0 G to 0.1 G MACs'."""


@dataclass(frozen=True)
class Chart:
    """A chart with its caption."""

    title: str
    """What it shows."""
    svg: str
    """An <svg> element of `charts`, `bars` or `heatmap`, which escape their text."""
    note: str = ""
    """How to read it."""
    by_time: str = ""
    """The same over time, where the first is over steps."""


@dataclass(frozen=True)
class Table:
    """A table."""

    title: str
    """What it lists; the line that opens it, where it is folded."""
    head: Sequence[str]
    """Its heading."""
    rows: Sequence[Sequence[str]]
    """Its rows; cells that begin with a digit are aligned as numbers."""
    folded: bool = False
    """Whether it is closed until somebody opens it."""
    prose: bool = False
    """Whether its cells are texts, aligned as such even where they begin with a digit."""


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading."""

    key: str
    """Its anchor."""
    title: str
    """Its heading."""
    charts: Sequence[Chart] = ()
    """Side by side where there is room."""
    tables: Sequence[Table] = ()
    """Under the charts."""
    notes: Sequence[str] = ()
    """Paragraphs under the heading."""


@dataclass(frozen=True)
class Page:
    """Everything on a page."""

    title: str
    """Its heading."""
    lead: str
    """One sentence: what came out."""
    cards: Sequence[Card] = ()
    """Key figures."""
    gallery: Gallery | None = None
    """Images to compare."""
    before: str = "teacher"
    """The view on the left at the start."""
    after: str = "student"
    """The view on the right at the start."""
    sections: Sequence[Section] = ()
    """In order."""
    warnings: Sequence[str] = ()
    """What the reader has to know first, such as files that could not be read."""
    notes: Sequence[str] = ()
    """Small print at the end."""
    progress: float | None = None
    """Share of the steps that are done, 0 to 1; None for a run that is finished."""


@dataclass(frozen=True)
class Row:
    """Images to be seen side by side: each (3, height, width) RGB in [-1, 1], of one size."""

    name: str
    images: Sequence[Tensor]
    figures: dict[str, float] = field(default_factory=dict)


def render(page: Page) -> str:
    """Return the HTML, every text escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        page=page,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
        raw=Markup,
        is_number=is_number,
    )


def save_page(path: Path, page: Page) -> None:
    """Write the page, whole or not at all."""
    unfinished = path.with_suffix(path.suffix + ".part")
    unfinished.write_text(render(page), encoding="utf-8")
    unfinished.replace(path)


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
        columns: what the images of a row are; the last two are compared at the start.
        table: its first line is the heading.
        charts: <svg> elements, which have escaped their text.
        notes: the protocol: how each figure was measured.
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
    """Tell whether a table's cell is to be aligned as a number."""
    return cell[:1].isdigit() or cell[:1] in ("–", "−", "-") or not cell
