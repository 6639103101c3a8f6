"""The commands for teachers: teacher, which trains a dense generator, and dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal


def teacher(
    name: str,
    /,
    *,
    output: Path,
    data: Path | None = None,
    targets: Path | None = None,
    scale: Literal["smoke", "cpu", "full"] = "cpu",
    steps: int | None = None,
    minutes: float | None = None,
    size: int | None = None,
    width: int | None = None,
    blocks: int | None = None,
    discriminator_width: int | None = None,
    discriminator_steps: int | None = None,
    batch_size: int | None = None,
    generated: int | None = None,
    lr: float | None = None,
    decay_from: float | None = None,
    ema: float | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    checkpoint_seconds: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train a dense generator from scratch, by its paper's own losses.

    For example:
        gan-slimming teacher sngan --data cifar-10-python.tar.gz --output runs/sngan --scale cpu

    Args:
        name: The teacher: sngan (noise to 32x32 pixels), cyclegan (both directions at once) or
            adaptive-style (photo to painting).
        output: Folder to create, such as runs/sngan. It gets teacher.yaml, metrics, samples,
            checkpoints, generator.safetensors, and plain weights in teacher.safetensors.
        data: CIFAR-10 for sngan: its official Python archive, or a tar or folder of
            train/CLASS/0000.jpg. For the others a folder of input images, such as trainA/.
        targets: Folder of images of the kind to make, such as trainB/. Not for sngan.
        scale: smoke takes seconds, cpu three hours on two cores, full is the paper's setting and
            needs a GPU.
        steps: Number of training steps, such as 50000. Default: that of the scale.
        minutes: Minutes of work instead of steps, such as 180. Default: that of the scale.
        size: Height and width of the training images in pixels, such as 128. Default: that of the
            scale.
        width: Channels of the generator's first layer, such as 64. Default: that of the scale.
        blocks: Residual blocks of the generator, such as 9; sngan has none to choose. Default:
            that of the scale.
        discriminator_width: Channels of the discriminator's first layer, such as 64. Default:
            that of the scale.
        discriminator_steps: Steps of sngan's discriminator for each of the generator (n_dis), such
            as 5. Default: that of the scale.
        batch_size: Real images of each step, such as 64. Default: that of the scale.
        generated: Images of each step of sngan's generator, such as 128. Default: that of the
            scale.
        lr: Learning rate of both players. Default: 0.0002.
        decay_from: Share of the run after which the rate falls linearly to 0, such as 0.5.
            Default: 0 for sngan, 0.5 for cyclegan, 1 (never) for adaptive-style.
        ema: Decay of the generator's moving average, which is what is kept, such as 0.999; 0 keeps
            the generator itself. Default: 0.999 for sngan, else 0.
        seed: Seed of all random numbers, 0 to 2^62. Default: 0.
        device: auto, cpu, cuda or mps. Default: auto.
        precision: auto, 32-true (float32) or bf16-mixed. Default: auto.
        threads: Number of CPU threads, such as 1. Default: one or all, whichever runs faster.
        checkpoint_seconds: Time between two checkpoints in seconds, such as 60. Default: 240.
        resume: Continue the run in --output, with its own settings.
        overwrite: Replace the run in --output. Only files that a run makes are removed.
    """
    given = {
        "steps": steps, "minutes": minutes, "size": size, "width": width, "blocks": blocks,
        "discriminator_width": discriminator_width, "discriminator_steps": discriminator_steps,
        "batch_size": batch_size, "generated": generated, "lr": lr, "decay_from": decay_from,
        "ema": ema, "seed": seed, "device": device, "precision": precision, "threads": threads,
        "checkpoint_seconds": checkpoint_seconds,
    }  # fmt: skip
    from gan_slimming.config.teacher import teacher_settings

    teacher_settings(name, scale, given)  # a mistake is told before torch is loaded
    from gan_slimming.cli.progress import step_bar
    from gan_slimming.errors import Interrupted
    from gan_slimming.workflows.teacher import teacher as run

    try:
        with step_bar() as on_step:
            return run(
                name, data, output, targets=targets, scale=scale, resume=resume,
                overwrite=overwrite, on_step=on_step, **given,
            )  # fmt: skip
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from error


def dataset(
    name: str,
    /,
    *,
    output: Path,
    url: str | None = None,
    sha256: str | None = None,
) -> dict[str, Any]:
    """Download a published set of training images, checked by its SHA-256.

    For example:
        gan-slimming dataset horse2zebra --output data/

    Args:
        name: The set: horse2zebra, summer2winter or maps (trainA/, trainB/, testA/, testB/), or
            cifar10 (the official archive).
        output: Folder to put it into, such as data/; a download that was cut goes on there.
        url: Another address of the same archive, such as a mirror. Default: the authors'.
        sha256: Another SHA-256 of the archive. Default: the known one.
    """
    from gan_slimming.cli.progress import step_bar
    from gan_slimming.data.published import fetch_dataset

    with step_bar() as on_step:

        def progress(done: int, total: int | None) -> None:
            on_step(done >> 20, (total or done) >> 20, {})

        made = fetch_dataset(name, output, url=url, sha256=sha256, progress=progress)
    return {"name": name, "output": str(made)}
