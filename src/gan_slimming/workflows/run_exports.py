"""The exported files of a run: tried before its first step, written at its end."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.training.setup import Setup


def try_exports(setup: Setup) -> None:
    """Export a cut copy of the student to memory, in each format that the run asks for.

    Warns:
        ExportWarning: a file will take fewer sizes than the generator.
    Raises:
        UserError: a package is missing, or there will be no file.
    """
    formats = setup.run.exports
    if not formats:
        return
    from gan_slimming.export.export_model import ExportWarning
    from gan_slimming.export.rehearsal import rehearse, require_runtimes

    require_runtimes(formats)
    with torch.random.fork_rng(devices=[]):
        found = rehearse(setup.student, formats, setup.run.size)
    failed = [result for result in found if result.problem]
    if failed:
        raise UserError(
            f"{'; '.join(map(str, failed))}; leave {' and '.join(r.format for r in failed)} out of "
            "--export to train without it"
        )
    for result in found:
        if result.restricted:
            warnings.warn(str(result), ExportWarning, stacklevel=3)


def write_exports(
    folder: RunFolder, formats: Sequence[str], generator: nn.Module
) -> list[dict[str, Any]]:
    """Write the trained generator in each format, in int8 for that format's own runtime.

    A file that cannot be written costs no training: it is left out.

    Returns:
        What `export_model` returns, of every file that was written.
    Warns:
        ExportWarning: what was left out, and why.
    """
    made = []
    if formats:
        from gan_slimming.export.export_model import ExportWarning, export_model
        from gan_slimming.export.rehearsal import quantization_of
        from gan_slimming.export.trace.integers import is_quantized

        for name in formats:
            quantization = quantization_of(name, quantized=is_quantized(generator))
            path = folder.exports[name]
            try:
                told = export_model(
                    generator, path, quantization=quantization, run=folder.path, overwrite=True,
                    cpus="own",
                )  # fmt: skip
            except UserError as error:
                text = f"{path} is not written ({error}); the run itself is complete"
                warnings.warn(text, ExportWarning, stacklevel=3)
                continue
            made.append(told)
    return made
