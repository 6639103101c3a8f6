"""Write the table of docs/models.md from the records of the shipped models; a test checks it.

python docs/make_models.py
"""

from __future__ import annotations

import re
from pathlib import Path

from gan_slimming.serialization.model_record import ModelRecord
from gan_slimming.serialization.shipped import shipped_names, shipped_record

PAGE = Path(__file__).with_name("models.md")
HEAD = ("name", "what it does", "bytes", "MMACs", "LPIPS", "PSNR, dB", "licence", "origin")


def page() -> str:
    """Return the page with its table as the records say."""
    rows = [HEAD, ("---", "---", *["---:"] * 4, "---", "---")]
    rows += [row_of(shipped_record(name)) for name in shipped_names()]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    text = PAGE.read_text(encoding="utf-8")
    return re.sub(r"(?<=\n\n)\| name \|.*?(?=\n\n)", lambda _: table, text, flags=re.DOTALL)


def row_of(record: ModelRecord) -> tuple[str, ...]:
    """Return the cells of one model."""
    figures = record.figures()
    macs = f"{record.macs / 1e6:,.0f}" if record.macs else "–"
    quality = (
        f"{figures['lpips']:.3f}" if "lpips" in figures else "–",
        f"{figures['psnr']:.1f}" if "psnr" in figures else "–",
    )
    name, size = f"`{record.name}`", f"{record.size_bytes:,}"
    return (name, record.description, size, macs, *quality, record.licence, record.origin)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
