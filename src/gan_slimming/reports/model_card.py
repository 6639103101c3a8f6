"""Model cards: Markdown with the YAML front matter that the Hugging Face Hub reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from gan_slimming.data.report_files import markdown_table
from gan_slimming.metrics.catalogue import METRICS
from gan_slimming.serialization.model_record import ModelRecord

TASKS = {"images": "image-to-image", "noise": "unconditional-image-generation"}
"""What a generator takes -> the Hub's name of its task."""
TAGS = ("gan", "pruning", "quantization", "distillation", "int8", "gan-slimming")
LICENCES = (
    "mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "unlicense", "cc0-1.0",
    "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "gpl-3.0", "lgpl-3.0", "mpl-2.0",
)  # fmt: skip
"""Licences that the Hub knows by these names; it calls any other 'other', with its name beside."""


def model_card(record: ModelRecord, repo: str | None = None) -> str:
    """Return the card of a generator, all of it from its record.

    Args:
        repo: USER/NAME on the Hub from where it is pulled; None for a shipped one.
    """
    matter = yaml.safe_dump(front_matter(record), sort_keys=False, allow_unicode=True, width=1000)
    parts = [
        f"---\n{matter}---\n",
        f"# {record.name}\n",
        f"{_sentence(record.description)}\n",
        "## Use\n",
        "```\n" + "\n".join(_use(record, repo)) + "\n```\n",
        "The file is data: safetensors, loaded without running any code from it.\n",
        "## Costs\n",
        _table(["", ""], _costs(record)),
        "## Quality\n",
        _quality(record),
        "## Training\n",
        _training(record),
        "## Licence and origin\n",
        f"Licence of this file: {record.licence}. {_sentence(record.origin)}\n",
        f"`{record.sha256}` is the SHA-256 of the file. Record of {record.date}.\n",
    ]
    return "\n".join(part for part in parts if part)


def front_matter(record: ModelRecord) -> dict[str, Any]:
    """Return the metadata of a card, as the Hub's model card specification names them."""
    licence = record.licence.lower()
    known = {"license": licence}
    if licence not in LICENCES:
        known = {"license": "other", "license_name": licence}
    task = {"type": TASKS[record.takes], "name": TASKS[record.takes].replace("-", " ").capitalize()}
    data = str(record.protocol.get("data") or record.protocol.get("from") or "held-out inputs")
    metrics = [
        {"type": row["metric"], "value": row["value"], "name": f"{row['metric']} to the teacher"}
        for row in record.quality
    ]
    result = {"task": task, "dataset": {"type": "folder", "name": data}, "metrics": metrics}
    results = [result] if metrics else []
    return {
        **known,
        "library_name": "gan-slimming",
        "pipeline_tag": TASKS[record.takes],
        "tags": list(TAGS),
        "model-index": [{"name": record.name, "results": results}],
    }


def _use(record: ModelRecord, repo: str | None) -> list[str]:
    name = record.name if repo is None else repo.rpartition("/")[2]
    run = f"translate {name} photo.jpg --output out"
    if record.takes == "noise":
        run = f"sample {name} --output grid.png"
    if repo is None:
        return ["pip install gan-slimming", f"gan-slimming {run}"]
    return [
        "pip install 'gan-slimming[hub]'",
        f"gan-slimming pull {repo} --output {name}",
        f"gan-slimming {run}",
    ]


def _costs(record: ModelRecord) -> list[list[str]]:
    rows = [["network", f"`{record.generator}`, narrowed"], ["bytes", f"{record.size_bytes:,}"]]
    if record.parameters:
        rows.append(["parameters", f"{record.parameters:,}"])
    if record.macs:
        size = f" of {record.size[1]}x{record.size[0]}" if record.size else ""
        rows.append([f"multiply-accumulates for one image{size}", f"{record.macs:,}"])
    return rows


def _quality(record: ModelRecord) -> str:
    if not record.quality:
        return "Not measured.\n"
    rows = []
    for row in record.quality:
        told = METRICS.get(row["metric"])
        unit = row.get("unit") or (told.unit if told else "")
        low, high = row.get("low"), row.get("high")
        span = "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
        name = row["metric"] + (f" ({unit})" if unit else "")
        rows.append([name, f"{row['value']:.4g}", span, f"{row['direction']} is better"])
    notes = [f"- {key.replace('_', ' ')}: {value}" for key, value in record.protocol.items()]
    table = _table(["metric", "value", "95 % interval", ""], rows)
    return table + "\n" + "\n".join(notes) + "\n"


def _training(record: ModelRecord) -> str:
    rows = [
        ["teacher's file", str(record.teacher.get("weights") or "not told")],
        ["teacher's SHA-256 (tensors)", f"`{record.teacher.get('sha256') or 'not told'}`"],
    ]
    rows += [[key, f"{value:,}"] for key, value in record.training.items() if value is not None]
    commit = record.environment.get("commit")
    rows += [["commit", f"`{commit}`"]] if commit else []
    command = f"\n```\n{record.command}\n```\n" if record.command else ""
    return _table(["", ""], rows) + command


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table(head, rows, left=len(head)) + "\n"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
