"""Make a finished run a shipped model: its file, its record, and its row in docs/models.md.

    gan-slimming evaluate runs/hayao --data unseen/ --teacher cartoongan:Hayao_net_G_float.pth \\
        --metrics lpips,psnr,ssim --output hayao.json
    python benchmarks/ship_model.py cartoon-hayao runs/hayao --evaluation hayao.json \\
        --licence MIT --description 'Photos as frames of an anime' --origin 'CartoonGAN ...'

Costs and quality come from the evaluation, or else from the run's summary; the command from the
run; licence and origin from the flags, or from the model of that name that is shipped so far, whose
file is replaced.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

from gan_slimming.data.files import write_atomically
from gan_slimming.errors import UserError
from gan_slimming.serialization.model_record import read_record, write_record
from gan_slimming.serialization.record_of_run import Told, read_evaluation, record_of_run
from gan_slimming.serialization.resolve import model_file
from gan_slimming.serialization.shipped import FOLDER, MOST_BYTES

PAGE = Path(__file__).parents[1] / "docs" / "make_models.py"


def main() -> None:
    given = parser().parse_args()
    try:
        ship(given, FOLDER)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    runpy.run_path(str(PAGE), run_name="__main__")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's flags."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("name", help="such as cartoon-hayao")
    made.add_argument("run", help="a finished run folder, or its generator.safetensors")
    made.add_argument("--evaluation", type=Path, help="of evaluate; default: the run's summary")
    made.add_argument("--licence", help="as SPDX names it, such as MIT")
    made.add_argument("--origin", help="whose work the teacher is, and its licence")
    made.add_argument("--description", help="one line")
    made.add_argument("--command", help="that made it; default: that of its run folder")
    made.add_argument("--any-size", action="store_true", help=f"more than {MOST_BYTES:,} bytes")
    return made


def ship(given: argparse.Namespace, folder: Path) -> Path:
    """Write file and record of a shipped model; return the path of the file."""
    source = model_file(given.run)
    if source is None:
        raise UserError(f"{given.run} is no run folder and no generator.safetensors")
    size = source.stat().st_size
    if size > MOST_BYTES and not given.any_size:
        raise UserError(f"{source} has {size:,} bytes; shipped models have {MOST_BYTES:,} at most")
    target, earlier = folder / f"{given.name}.safetensors", folder / f"{given.name}.json"
    before = read_record(earlier) if earlier.is_file() else None
    told = Told(
        given.name,
        given.licence or (before and before.licence),
        given.origin or (before and before.origin),
        given.description or (before and before.description),
        given.command,
    )
    judged = read_evaluation(given.evaluation) if given.evaluation else None
    record = record_of_run(source, told, judged)
    write_atomically(target, source.read_bytes())
    write_record(earlier, record)
    return target


if __name__ == "__main__":
    main()
