"""The charts of one run: quality, loss, budget, gates and layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gan_slimming.reports.bars import RangeRow, parts_of, ranges, values
from gan_slimming.reports.charts import Points, curves, dots
from gan_slimming.reports.heatmap import heatmap
from gan_slimming.reports.page import Chart
from gan_slimming.reports.run_data import RunData
from gan_slimming.reports.svg import duration, number

QUALITY = {
    "lpips": ("LPIPS to the teacher", "lower is nearer"),
    "psnr": ("PSNR to the teacher", "dB, higher is nearer"),
    "l1": ("L1 to the teacher", "of a range of 2, lower is nearer"),
}
DISTANCES = {
    "distance": "distance",
    "pixel": "pixel",
    "colour": "colour",
    "lattice": "lattice",
    "features": "features",
    "hidden": "features",
}
"""Loss term -> its legend; 'hidden' and 'critic' are names of version 0.1."""
GAME = {"adversarial": "student", "critic": "discriminator", "discriminator": "discriminator"}
MOST_ROWS = 80
"""Most layers or groups in a chart; the tables have them all."""


def quality_charts(data: RunData) -> list[Chart]:
    """Return the charts of distances to the teacher on held-out images during training."""
    return [
        _over_both(data, title, {title: key}, note=f"held-out images, {sense}")
        for key, (title, sense) in QUALITY.items()
        if _points(data, key)
    ]


def search_charts(data: RunData) -> list[Chart]:
    """Return the chart of the cost against the quality of a run with a target."""
    target, kind = data.run.target, data.run.target.kind
    looks = [row for row in data.metrics if {"met", "macs", kind} <= row.keys()]
    if kind is None or not looks:
        return []
    whole = data.summary.get("teacher_macs") or max(row["macs"] for row in looks) or 1
    best: dict[int, float] = {}
    for row in sorted(looks, key=lambda row: -target.distance(row[kind])):
        best[row["macs"]] = row[kind]  # the nearest at each cost comes last
    points = [(100 * macs / whole, value) for macs, value in sorted(best.items())]
    title = f"{kind.upper()} against cost"
    chart = curves(
        title, {title: points}, "MACs, % of the teacher's", level=("target", target.value)
    )
    return [Chart(title, chart, "held-out images, the best at each cost")]


def loss_charts(data: RunData) -> list[Chart]:
    """Return the charts of the loss terms on training images."""
    charts = []
    for title, terms, note in (
        ("Distances in the loss", DISTANCES, "student to teacher, before weighting"),
        ("The GAN game", GAME, "losses of both players"),
    ):
        lines = {name: key for key, name in terms.items() if _points(data, key)}
        if any(y for key in lines.values() for _, y in _points(data, key)):
            charts.append(_over_both(data, title, lines, note=note))
    return charts


def budget_chart(data: RunData) -> list[Chart]:
    """Return the chart of the cost during slimming, with the budget."""
    charts, kind = [], data.run.budget.kind
    key, title = ("parameters", "Parameters") if kind in ("parameters", "bytes") else (
        "macs", "MACs")  # fmt: skip
    if _points(data, key):
        whole = data.summary.get(f"teacher_{key}")
        level = None
        if whole and kind == key:
            level = ("budget", data.run.budget.amount(whole))
        charts.append(
            _over_both(data, f"{title} while slimming", {title: key}, level=level, marked=False)
        )
    return charts


def sparsity_chart(data: RunData) -> list[Chart]:
    """Return the chart of the sparsity weight during slimming."""
    if not _points(data, "rho"):
        return []
    note = "fixed" if data.run.objective.rho else "chosen by the budget"
    return [_over_both(data, "Sparsity weight ρ", {"ρ": "rho"}, marked=False, note=note)]


def gate_charts(data: RunData) -> list[Chart]:
    """Return the charts of gate sizes and remaining channels during slimming."""
    if not data.gates:
        return []
    first, last = data.gates[0]["decades"]
    bins = len(data.gates[0]["counts"])
    columns = []
    for line in (line for line in data.gates if len(line["counts"]) == bins):
        top = max(line["counts"]) or 1
        columns.append((line["step"], [count / top for count in line["counts"]]))
    labels = [""] * bins
    for decade in range(round(first), round(last) + 1):
        place = min(bins - 1, round((decade - first) / (last - first) * bins))
        labels[place] = number(10.0**decade)
    gates = heatmap("Gates", columns, labels, row=7.5)
    charts = [Chart("Gates", gates, "how many have which size, log scale; those at 0 are left out")]
    totals = data.record.get("channels") or {}
    names = [name for name in totals if totals[name]][:MOST_ROWS]
    if names:
        shares = [
            (line["step"], [line["kept"].get(n, 0) / totals[n] for n in reversed(names)])
            for line in data.gates
        ]
        svg = heatmap("Channels left", shares, names[::-1], row=13)
        charts.append(Chart("Channels left", svg, "share in each group, from input to output"))
    return charts


def channel_chart(data: RunData) -> list[Chart]:
    """Return the chart of channels kept in each of the teacher's groups, in network order."""
    totals = data.record.get("channels") or {}
    if data.kept is None or not totals:
        return []
    rows = [(name, len(data.kept.get(name, ())), total) for name, total in totals.items()]
    note = "by channel group, from input to output"
    if len(rows) > MOST_ROWS:
        rows, note = rows[:MOST_ROWS], f"the first {MOST_ROWS} of {len(rows)} channel groups"
    return [Chart("Channels kept", parts_of("Channels kept", rows), note)]


def work_chart(data: RunData) -> list[Chart]:
    """Return the chart of each layer's MACs in teacher and student."""
    teacher = _macs(data.layers.get("teacher", ()))
    if not teacher or "student" not in data.layers:
        return []
    student = _macs(data.layers["student"])
    top = max(teacher.values()) or 1
    units = ((1e9, "billion MACs"), (1e6, "million MACs"), (1, "MACs"))
    unit = next(found for found in units if top >= found[0])
    rows = [(name, student.get(name, 0), macs) for name, macs in teacher.items()][:MOST_ROWS]
    scaled = [(name, round(part / unit[0], 2), round(all_ / unit[0], 2))
              for name, part, all_ in rows]  # fmt: skip
    note = f"{unit[1]} of one image, from input to output"
    return [Chart("Work by layer", parts_of("Work by layer", scaled, kept="student"), note)]


def range_chart(data: RunData) -> list[Chart]:
    """Return the chart of each quantised layer's representable and observed inputs."""
    rows = [
        RangeRow(
            row["layer"], row["low"], row["high"], row["seen_low"], row["seen_high"],
            row["clipped_low"] + row["clipped_high"],
        )
        for row in data.ranges[:MOST_ROWS]
    ]  # fmt: skip
    note = "of each layer's input on all held-out images, in units of the range itself"
    return [Chart("Activation ranges", ranges("Activation ranges", rows), note)] if rows else []


def spread_charts(data: RunData, measures: Sequence[str]) -> list[Chart]:
    """Return the dot plots of every held-out image's distance; filled dots are on the page."""
    charts = []
    for measure in measures:
        points = [
            (str(row["name"]), float(row[measure]), bool(row.get("sample")))
            for row in data.held_out
            if isinstance(row.get(measure), int | float)
        ]
        if points:
            title = f"{measure.upper()} of each image"
            note = f"all {len(points)} held-out images; filled: shown above"
            charts.append(
                Chart(title, dots(title, points, "dB" if measure == "psnr" else ""), note)
            )
    return charts


def latency_chart(benchmark: Mapping[str, Any]) -> list[Chart]:
    """Return the chart of measured latencies by model, runtime and precision."""
    rows = [
        (f"{row['model']}, {row['runtime']} {row['precision']}", row["latency_ms"],
         row.get("spread") or 0.0)
        for row in benchmark.get("measurements", ())
        if row.get("latency_ms")
    ]  # fmt: skip
    if not rows:
        return []
    note = (
        f"median of one image; {benchmark.get('threads', '?')} threads, {benchmark.get('size')} px"
    )
    return [Chart("Latency", values("Latency", rows, "ms"), note)]


def _over_both(
    data: RunData,
    title: str,
    lines: Mapping[str, str],
    *,
    note: str = "",
    level: tuple[str, float] | None = None,
    marked: bool = True,
) -> Chart:
    """Return a chart over steps, and over time if recorded; lines are name -> metrics key."""
    times = [row.get("seconds") for row in data.metrics]
    slim = data.slim_steps if marked else 0
    end = next((row.get("seconds") for row in data.metrics if row["step"] == slim), None)

    def draw(x: Callable[[Mapping[str, Any]], float | None], label: str, end: float | None) -> str:
        return curves(
            title,
            {name: _points(data, key, x) for name, key in lines.items()},
            label,
            level=level,
            mark=("cut", end) if end else None,
        )

    by_step = draw(lambda row: row["step"], "step", slim or None)
    if not times or not all(isinstance(time, int | float) for time in times):
        return Chart(title, by_step, note)
    unit, size = duration(float(max(times)))  # pyright: ignore[reportArgumentType]
    by_time = draw(lambda row: row["seconds"] / size, unit, end / size if end else None)
    return Chart(title, by_step, note, by_time)


def _points(
    data: RunData,
    key: str,
    x: Callable[[Mapping[str, Any]], float | None] = lambda row: row["step"],
) -> Points:
    pairs = ((x(row), row.get(key)) for row in data.metrics)
    points = [
        (float(a), float(b))
        for a, b in pairs
        if isinstance(a, int | float) and isinstance(b, int | float)
    ]
    # During slimming, features are not compared and 0 is logged.
    return [(a, b) for a, b in points if b] if DISTANCES.get(key) == "features" else points


def _macs(layers: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {layer["name"]: layer["macs"] for layer in layers if layer["macs"]}
