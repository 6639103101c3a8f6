"""The command experiment, which compares methods on one system in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gan_slimming.errors import UserError


def experiment(
    name: str | None = None,
    /,
    *,
    scale: Literal["smoke", "cpu", "full"] = "cpu",
    rows: str | None = None,
    output: Path | None = None,
    weights: str | None = None,
    data: str | None = None,
    test: str | None = None,
    targets: str | None = None,
    discriminator: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    latency: bool = False,
    list: bool = False,
) -> dict[str, Any]:
    """Compare methods of compression on one system, in a table.

    Every method gets the same teacher, images, and minutes or steps, and is judged by the code of
    evaluate on images that training never saw. Finished rows are kept, an interrupted one goes on,
    and a failed one does not stop the others: give the same command again. Rows may run side by
    side, as commands with the same --output and other --rows.

    For example:
        gan-slimming experiment cartoongan --scale smoke
        gan-slimming experiment cartoongan --weights Hayao.pth --data photos/ --test others/
            --rows gs-8,cp-d-then-q,gd --minutes 20 --output tables/hayao
        gan-slimming experiment --list

    Args:
        name: A system, such as cartoongan or dcgan, or the YAML file of your own; see --list.
        scale: smoke takes seconds on a teacher of random weights, and shows that all works; cpu an
            evening on two cores; full a GPU.
        rows: Methods between commas, such as gs-8,gs-32,cp-then-d, or YAML files of your own.
            Default: all of the system's.
        output: Folder for the table (table.md), the page (report.html), the records and the runs.
            Default: experiment-NAME-SCALE.
        weights: The teacher's weights. Default: the system's, searched here and in the folder
            GAN_SLIMMING_DATA.
        data: Folder of images to train on, searched likewise.
        test: Folder of images to judge on, none of which may be in --data.
        targets: Folder of real images of the output's kind, for the discriminator.
        discriminator: The discriminator that the teacher was trained against, such as
            patchgan:netD.pth, for the GAN game and for CEC's distance. Default: a fresh PatchGAN
            for the game, and the objective's distance for CEC.
        minutes: Minutes of training of each row, in place of the scale's.
        steps: Training steps of each row, in place of the scale's.
        seed: Seed of all random numbers, 0 to 2^62. Default: 0.
        latency: Add the time of one image in OpenVINO, in int8 where the row is quantised; needs
            the extra [export], and a machine with nothing else to do.
        list: List the systems and the methods.
    """
    if list:
        return _listed()
    if name is None:
        raise UserError("name a system, such as cartoongan; gan-slimming experiment --list")
    from gan_slimming.cli.progress import step_bar
    from gan_slimming.errors import Interrupted
    from gan_slimming.workflows.experiment import experiment as run

    changes = {
        "weights": weights,
        "data": data,
        "test": test,
        "targets": targets,
        "discriminator": discriminator,
        "minutes": minutes,
        "steps": steps,
        "seed": seed,
        "latency": latency or None,
    }
    folder = output or Path(f"experiment-{Path(name).stem}-{scale}")
    chosen = [row.strip() for row in (rows or "").split(",") if row.strip()]
    try:
        with step_bar() as on_step:
            return run(
                name, folder, scale=scale, rows=chosen, changes=changes, on_step=on_step,
                on_row=_print_row,
            )  # fmt: skip
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from error


def _print_row(number: int, rows: int, what: str) -> None:
    """Say on stderr which row is run."""
    import sys

    print(f"row {number} of {rows}: {what}", file=sys.stderr)


def _listed() -> dict[str, Any]:
    """Print the systems and methods on stderr, and return them."""
    from rich.console import Console
    from rich.table import Table

    from gan_slimming.experiments.systems import listed

    found = listed()
    for kind in ("system", "method"):
        table = Table(title=f"{kind}s", title_justify="left", show_header=False, box=None)
        for entry in found:
            if entry["kind"] == kind:
                table.add_row(entry["name"], entry["summary"])
        Console(stderr=True).print(table)
    return {"experiments": found}
