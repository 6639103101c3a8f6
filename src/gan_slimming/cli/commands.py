"""The commands that train: typed functions, from which flags, help and YAML keys are made.

Parameters before '/' are positional, all others are flags. Each command imports its workflow only
when it runs, so that --help does not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gan_slimming.cli.source import weights_file
from gan_slimming.config import Budget, Memory, Objective, Optimisation, Run, Target
from gan_slimming.errors import UserError


def compress(
    *,
    output: Path,
    generator: str | None = None,
    generator_args: dict[str, Any] | None = None,
    weights: Path | None = None,
    weights_key: str | None = None,
    rename: list[str] | None = None,
    student: Path | None = None,
    data: Path | None = None,
    dataset: str | None = None,
    targets: Path | None = None,
    discriminator: str | None = None,
    bits: int | Literal["none"] | None = 8,
    size: int = 256,
    latents: int = 10_000,
    holdout: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    workers: int = 2,
    seed: int = 0,
    checkpoint_seconds: float = 240.0,
    weight_bits: int | None = None,
    activation_range: float | None = None,
    quantize_outputs: bool = False,
    protect: list[str] | None = None,
    teacher_mode: Literal["eval", "train"] = "eval",
    fix_noise: bool = False,
    dropout: Literal["off", "keep"] = "off",
    export: str | None = None,
    preset: Literal["default", "paper"] = "default",
    resume: bool = False,
    repeat: Path | None = None,
    overwrite: bool = False,
    budget: Budget | None = None,
    target: Target | None = None,
    objective: Objective | None = None,
    optimisation: Optimisation | None = None,
    memory: Memory | None = None,
    config: list[Path] | None = None,
) -> dict[str, Any]:
    """Make a trained generator small: prune, quantise and distil it in one optimisation.

    For example:
        gan-slimming compress --generator cartoongan --weights Hayao_net_G_float.pth
            --data photos/ --output runs/hayao --budget.macs 0.05

    Args:
        output: Run folder to create, such as runs/hayao. It gets the settings, metrics, samples,
            checkpoints and generator.safetensors.
        generator: The teacher: a registered name such as cartoongan, cyclegan or sngan, or your own
            code as package.module:factory. Weights may follow, as in cartoongan:Hayao.pth.
        generator_args: Arguments of the generator's factory as JSON, such as '{"width": 32}'.
            Default: the factory's own.
        weights: The teacher's trained weights, a .pth or .safetensors file.
        weights_key: Place of the teacher in the weights file, such as G_A or state_dict.generator.
            Default: whatever fits, averaged weights (EMA) before raw ones.
        rename: Parts of names in the weights file and in the teacher, such as block=conv_block.
            Default: none.
        student: Small generator of an earlier run to train further: the run folder, such as
            runs/hayao, or its generator.safetensors. Without a budget it keeps its size. Default: a
            copy of the teacher.
        data: Folder of training images of any size, at any depth, such as photos/, or a CSV file
            that names images and further inputs, such as pairs.csv. For a generator of waveforms a
            folder of signals (.npy, .safetensors). A generator that takes noise needs none.
        dataset: Your own map-style dataset in place of --data, as package.module:factory, such as
            mine.data:faces. Its items are the generator's inputs. Default: --data.
        targets: Folder of real images of the output's kind for the discriminator, such as
            cartoons/. Default: no GAN game; with --adversarial lsgan the teacher's outputs count as
            real.
        discriminator: The discriminator that the teacher was trained against: patchgan:WEIGHTS,
            sngan:WEIGHTS, or your own code as package.module:factory[:WEIGHTS]. Default: a
            PatchGAN with fresh weights, where the game is played.
        bits: Bits per activation and per weight, 2 to 8; none for no quantisation. Weights get at
            most 7 unless --weight-bits is given.
        size: Height and width of the training images in pixels, or length of the training signals
            in frames. A generator that takes noise sets its own.
        latents: Number of noise vectors to train on, where the generator takes noise.
        holdout: Number of images or noise vectors held out of training, to track quality. Default:
            16, or a fifth of the images where that is less.
        device: auto, cpu, cuda or mps; auto takes a GPU where there is one.
        precision: auto, 32-true (float32) or bf16-mixed; auto takes bf16 where both the machine and
            the generator support it.
        threads: Number of CPU threads, such as 4. Default: one or all, whichever runs faster.
        workers: Number of threads that decode images, such as 8 for a fast GPU; 0 decodes each
            image where it is drawn.
        seed: Seed of all random numbers, 0 to 2^62.
        checkpoint_seconds: Time between two checkpoints in seconds, such as 60: what a crash can
            cost.
        weight_bits: Bits per weight, 2 to 8. Default: --bits, but at most 7, because int8 kernels
            are then exact on every CPU. 8 needs a CPU with VNNI, AMX or dot products.
        activation_range: Upper end p of one fixed range [0, p] for all activations, such as the
            paper's 4. Default: each range is calibrated, then learnt.
        quantize_outputs: Round the outputs of all convolutions but the last, too. ONNX Runtime, and
            any runtime that passes bytes from layer to layer, is fast in int8 only then. Works
            best on a finished student, given with --student.
        protect: Modules that keep all their channels, as shell patterns such as 'blocks.*.conv_2'.
            Default: none.
        teacher_mode: How the teacher's own script runs it. train is for one that never calls
            eval(): its batch norms take the statistics of each image. Default: eval.
        fix_noise: Keep the noise that the generator draws inside, the same for every image.
        dropout: How dropout runs that the forward calls with training=True, which eval() does not
            switch off. off leaves it out of teacher, student and files; keep lets each draw at
            random, and no such file can be exported.
        export: Files to write at the end, such as onnx,openvino, in int8 for ONNX Runtime and for
            OpenVINO. Whether they can be written is tried before the first step. Default: none.
        preset: Starting values of the settings that neither a flag nor --config names. paper takes
            the released hyperparameters of Wang et al. 2020.
        resume: Continue the run in --output, with its own settings.
        repeat: Finished run to repeat in --output with its own settings, such as runs/hayao. One
            by --minutes takes the recorded steps, and gives the same student on the same machine.
        overwrite: Replace the run in --output. Only files that a run makes are removed, and never
            from a folder that holds an input of this run.
        config: The files of --config.
    """
    budget, objective = budget or Budget(), objective or Objective()
    target = target or Target()
    if not resume and repeat is None:
        asked = (budget.kind, target.kind, objective.rho)
        _check_complete(generator, student, sized=any(asked))
    run = Run(
        budget=budget,
        target=target,
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
        checkpoint_seconds=checkpoint_seconds,
        memory=memory or Memory(),
        workers=workers,
        teacher_mode=teacher_mode,
        fix_noise=fix_noise,
        dropout=dropout,
        exports=tuple(export.split(",")) if export else (),
    )
    from gan_slimming.cli.progress import step_bar
    from gan_slimming.errors import Interrupted
    from gan_slimming.workflows.compress_by_name import Named, compress_by_name

    named = Named(
        generator=generator,
        weights=weights_file(weights, weights_key, rename),
        arguments=generator_args or {},
        student=student,
        data=data,
        dataset=dataset,
        targets=targets,
        discriminator=discriminator,
        protect=protect or [],
    )
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


def _check_complete(generator: str | None, student: Path | None, *, sized: bool) -> None:
    """Raise UserError for what is missing, before torch is loaded.

    Args:
        sized: whether a budget, a target or rho is named.
    """
    if generator is None:
        raise UserError(
            "name the teacher: --generator cartoongan --weights FILE, or your own as --generator "
            "package.module:factory"
        )
    if student is None and not sized:
        raise UserError(
            "say how small it shall be: --budget.macs 0.05 for 5 %, --budget.bytes 300k, "
            "--target.lpips 0.1 for the smallest that is so near to its teacher, or --rho 0.01"
        )
