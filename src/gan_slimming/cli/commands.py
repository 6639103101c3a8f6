"""The commands that train, typed functions from which flags, help and YAML keys are made.

What stands before '/' is positional, the rest are flags. Each imports its workflow only when it
runs, so that --help does not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gan_slimming.config import Budget, Objective, Optimisation, Run
from gan_slimming.errors import UserError


def compress(
    *,
    output: Path,
    generator: str | None = None,
    generator_args: dict[str, Any] | None = None,
    weights: Path | None = None,
    student: Path | None = None,
    data: Path | None = None,
    targets: Path | None = None,
    discriminator: str | None = None,
    bits: int | Literal["none"] | None = 8,
    size: int = 256,
    latents: int = 10_000,
    holdout: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    weight_bits: int | None = None,
    activation_range: float | None = None,
    quantize_outputs: bool = False,
    protect: list[str] | None = None,
    preset: Literal["default", "paper"] = "default",
    resume: bool = False,
    overwrite: bool = False,
    budget: Budget | None = None,
    objective: Objective | None = None,
    optimisation: Optimisation | None = None,
) -> dict[str, Any]:
    """Make a trained generator small: prune, quantise and distil it in one optimisation.

    For example:
        gan-slimming compress --generator cartoongan --weights Hayao_net_G_float.pth
            --data photos/ --output runs/hayao --budget.macs 0.05

    Args:
        output: Run folder to make: settings, metrics, samples, checkpoints, generator.safetensors.
        generator: A registered name such as cartoongan, cyclegan or sngan, or your own as
            package.module:factory; :WEIGHTS may stand behind it.
        generator_args: Arguments of the generator's factory as JSON, such as '{"width": 32}'.
        weights: The teacher's trained weights, a .pth or .safetensors file.
        student: A small generator of an earlier run, its folder or its generator.safetensors, to be
            trained further. Without a budget it keeps its size.
        data: Folder of images to train on, of any sizes, at any depth. A generator that takes
            noise needs none.
        targets: Folder of real images of the output's kind, for the discriminator; without it
            the teacher's own outputs are its real ones.
        discriminator: The other player, from the dense GAN's training: patchgan:WEIGHTS,
            sngan:WEIGHTS, or your own as package.module:factory[:WEIGHTS]; without it a fresh
            PatchGAN.
        bits: Bits of activations and weights, 2 to 8, or none for no quantisation.
        size: Images are trained at size x size pixels; noise has no size, the generator
            decides.
        latents: Noise vectors to train on, where the generator takes noise.
        holdout: Images or noise vectors kept from training, on which quality is tracked; without
            it 16, or a fifth of the images where that is less.
        device: auto, cpu, cuda or mps.
        precision: auto, 32-true or bf16-mixed.
        threads: CPU threads; without it, one or all, whichever is measured to be faster.
        seed: Seed of everything that is drawn at random.
        weight_bits: Bits of weights, where they differ from --bits; without it at most 7, with
            which int8 kernels are exact on every CPU. 8 needs one with VNNI, AMX or dot products.
        activation_range: The paper's fixed range [0, p] of activations (4 there); without it each
            range is calibrated and learnt.
        quantize_outputs: Round what convolutions give, too, all but the last. ONNX Runtime is quick
            in int8 only then (and other runtimes that take bytes to bytes). Best when a finished
            student is trained on with it, by --student.
        protect: Modules whose channels stay, as shell patterns such as 'blocks.*.conv_2'.
        preset: Where settings start that neither a flag nor --config names; 'paper' has the
            released hyperparameters of Wang et al. 2020.
        resume: Go on with the run in --output, with its own settings.
        overwrite: Replace the run in --output.
    """
    budget, objective = budget or Budget(), objective or Objective()
    if not resume:
        _check_complete(generator, student, budget, objective)
    run = Run(
        budget=budget,
        objective=objective,
        optimisation=optimisation or Optimisation(),
        bits=None if bits == "none" else bits,
        weight_bits=weight_bits,
        activation_range=activation_range,
        quantize_outputs=quantize_outputs,
        size=size,
        latents=latents,
        holdout=holdout,
        device=device,
        precision=precision,
        threads=threads,
        seed=seed,
    )
    from gan_slimming.cli.progress import step_bar
    from gan_slimming.errors import Interrupted
    from gan_slimming.workflows.compress_by_name import Named, compress_by_name

    named = Named(
        generator=generator,
        weights=weights,
        arguments=generator_args or {},
        student=student,
        data=data,
        targets=targets,
        discriminator=discriminator,
        protect=protect or [],
    )
    try:
        with step_bar() as on_step:
            return compress_by_name(
                named, output, run, resume=resume, overwrite=overwrite, on_step=on_step
            )
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from error


def demo(*, output: Path = Path("demo-output"), steps: int = 300) -> dict[str, Any]:
    """Compress a small generator that comes with the package, offline, and show the result.

    For example:
        gan-slimming demo --output demo-output

    Args:
        output: Folder for the page, the images and the run.
        steps: Generator steps; 300 take some minutes on two CPU cores.
    """
    Optimisation(steps=steps)  # refuses a wrong number before anything is written
    from gan_slimming.cli.progress import step_bar
    from gan_slimming.errors import Interrupted
    from gan_slimming.workflows.demo import demo as run

    try:
        with step_bar() as on_step:
            return run(output, steps, on_step)
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from error


def _check_complete(
    generator: str | None, student: Path | None, budget: Budget, objective: Objective
) -> None:
    """Tell what is missing before torch is loaded."""
    if generator is None:
        raise UserError(
            "name the teacher: --generator cartoongan --weights FILE, or your own as --generator "
            "package.module:factory"
        )
    if student is None and budget.kind is None and objective.rho is None:
        raise UserError(
            "say how small it shall be: --budget.macs 0.05 for 5 %, --budget.bytes 300k, "
            "or --rho 0.01"
        )
