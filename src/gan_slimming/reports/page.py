"""One self-contained page: images side by side, figures and charts under them. No network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment
from PIL import Image
from torch import Tensor

from gan_slimming.data.files import write_atomically

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
 body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
        color: #1d1d1f; background: #fff }
 h1 { font-size: 1.6rem; margin-bottom: .2rem } p.lead { margin-top: 0; color: #555 }
 .row { display: grid; grid-template-columns: repeat({{ columns|length }}, 1fr); gap: .5rem;
        margin-bottom: .5rem }
 .row img { width: 100%; display: block; border-radius: 4px } .head { font-weight: 600 }
 table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .3rem .9rem .3rem 0;
        text-align: left; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
 small { color: #555 } .charts { display: flex; flex-wrap: wrap; gap: 1.5rem }
 .charts svg { flex: 1 1 26rem; max-width: 40rem }
</style></head><body>
<h1>{{ title }}</h1><p class="lead">{{ lead }}</p>
<div class="row head">{% for name in columns %}<div>{{ name }}</div>{% endfor %}</div>
{% for row in rows %}<div class="row">{% for uri in row.images %}<img src="{{ uri }}"
 alt="{{ row.name }}: {{ columns[loop.index0] }}" title="{{ row.name }}">{% endfor %}</div>
{% endfor %}
<table><tr>{% for cell in table[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for line in table[1:] %}<tr>{% for cell in line %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table>
<div class="charts">{% for chart in charts %}{{ chart|safe }}{% endfor %}</div>
{% for note in notes %}<p><small>{{ note }}</small></p>{% endfor %}
</body></html>
"""


@dataclass(frozen=True)
class Row:
    """Images to be seen side by side: each (3, height, width) RGB in [-1, 1]."""

    name: str
    images: Sequence[Tensor]


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
    """Write the page, whole or not at all.

    Args:
        columns: what the images of a row are.
        table: its first line is the heading.
        charts: <svg> elements of `charts`, which has escaped their text.
        notes: the protocol: how each figure was measured.
    """
    drawn: list[Mapping[str, object]] = [
        {"name": row.name, "images": [data_uri(p) for p in row.images]} for row in rows
    ]
    page = (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            title=title,
            lead=lead,
            columns=columns,
            rows=drawn,
            table=table,
            charts=charts,
            notes=notes,
        )
    )
    write_atomically(path, page.encode())


def data_uri(image: Tensor) -> str:
    """An image (3, height, width) RGB in [-1, 1] as a PNG inside a URL."""
    pixels = ((image.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round()
    file = Image.fromarray(pixels.permute(1, 2, 0).numpy().astype(np.uint8))
    buffer = io.BytesIO()
    file.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
