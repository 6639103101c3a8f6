"""The commands that train: typed functions, from which flags, help and YAML keys are made.

Parameters before '/' are positional, all others are flags. Each command imports its workflow only
when it runs, so that --help does not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gan_slimming.config import Named, Optimisation, Run
from gan_slimming.errors import UserError


def compress(
    *,
    output: Path,
    named: Named,
    run: Run,
    preset: Literal["default", "paper"] = "default",
    resume: bool = False,
    repeat: Path | None = None,
    overwrite: bool = False,
    config: list[Path] | None = None,
) -> dict[str, Any]:
    """Make a trained generator small: prune, quantise and distil it in one optimisation.

    For example:
        gan-slimming compress --generator cartoongan --weights Hayao_net_G_float.pth
            --data photos/ --output runs/hayao --budget.macs 0.05

    Args:
        output: Run folder to create, such as runs/hayao. It gets the settings, metrics, samples,
            checkpoints and generator.safetensors.
        preset: Starting values of the settings that neither a flag nor --config names. paper takes
            the released hyperparameters of Wang et al. 2020.
        resume: Continue the run in --output, with its own settings.
        repeat: Finished run to repeat in --output with its own settings, such as runs/hayao. One
            by --minutes takes the recorded steps, and gives the same student on the same machine.
        overwrite: Replace the run in --output. Only files that a run makes are removed, and never
            from a folder that holds an input of this run.
        config: The files of --config.
    """
    if not resume and repeat is None:
        _check_complete(named, run)
    from gan_slimming.cli.progress import step_bar
    from gan_slimming.errors import Interrupted
    from gan_slimming.workflows.compress_by_name import compress_by_name

    try:
        with step_bar() as on_step:
            return compress_by_name(
                named, output, run, resume=resume, overwrite=overwrite, repeat=repeat,
                on_step=on_step, keep=config or [],
            )  # fmt: skip
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from error


def demo(*, output: Path = Path("demo-output"), steps: int = 300) -> dict[str, Any]:
    """Compress a small generator that comes with the package, offline, and show the result.

    For example:
        gan-slimming demo --output demo-output

    Args:
        output: Folder for the page (index.html), the images and the run.
        steps: Number of training steps; 300 take some minutes on two CPU cores.
    """
    Optimisation(steps=steps)  # a wrong number is refused before anything is written
    from gan_slimming.cli.progress import step_bar
    from gan_slimming.errors import Interrupted
    from gan_slimming.workflows.demo import demo as run

    try:
        with step_bar() as on_step:
            return run(output, steps, on_step)
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from error


def _check_complete(named: Named, run: Run) -> None:
    """Raise UserError for what is missing, before torch is loaded."""
    if named.generator is None:
        raise UserError(
            "name the teacher: --generator cartoongan --weights FILE, or your own as --generator "
            "package.module:factory"
        )
    if named.student is None and not (run.budget.kind or run.target.kind or run.objective.rho):
        raise UserError(
            "say how small it shall be: --budget.macs 0.05 for 5 %, --budget.bytes 300k, "
            "--target.lpips 0.1 for the smallest that is so near to its teacher, or --rho 0.01"
        )
