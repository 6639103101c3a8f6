"""The parts of a run, by the user's names for them. Imports no torch, so that --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_slimming.config.weights_file import WeightsFile


@dataclass(frozen=True)
class Named:
    """The user's names of a run's parts; None takes those of the run that is resumed."""

    generator: str | None = None
    """The teacher: a registered name such as cartoongan, cyclegan or sngan, or your own code as
    package.module:factory. Weights may follow, as in cartoongan:Hayao.pth."""
    generator_args: dict[str, Any] | None = None
    """Arguments of the generator's factory as JSON, such as '{"width": 32}'. Default: the factory's
    own."""
    weights: Path | None = None
    """The teacher's trained weights, a .pth or .safetensors file."""
    weights_key: str | None = None
    """Place of the teacher in the weights file, such as G_A or state_dict.generator. Default:
    whatever fits, averaged weights (EMA) before raw ones."""
    rename: list[str] | None = None
    """Parts of names in the weights file and in the teacher, such as block=conv_block. Default:
    none."""
    student: Path | None = None
    """Small generator of an earlier run to train further: the run folder, such as runs/hayao, or
    its generator.safetensors. Without a budget it keeps its size. Default: a copy of the
    teacher."""
    data: Path | None = None
    """Folder of training images of any size, at any depth, such as photos/, or a CSV file that
    names images and further inputs, such as pairs.csv. For a generator of waveforms a folder of
    signals (.npy, .safetensors). A generator that takes noise needs none."""
    dataset: str | None = None
    """Your own map-style dataset in place of --data, as package.module:factory, such as
    mine.data:faces. Its items are the generator's inputs. Default: --data."""
    targets: Path | None = None
    """Folder of real images of the output's kind for the discriminator, such as cartoons/. Default:
    no GAN game; with --adversarial lsgan the teacher's outputs count as real."""
    discriminator: str | None = None
    """The discriminator that the teacher was trained against: patchgan:WEIGHTS, sngan:WEIGHTS, or
    your own code as package.module:factory[:WEIGHTS]. Default: a PatchGAN with fresh weights, where
    the game is played."""
    protect: list[str] | None = None
    """Modules that keep all their channels, as shell patterns such as 'blocks.*.conv_2'. Default:
    none."""

    @property
    def file(self) -> WeightsFile:
        """Return the teacher's weights file, and what to take of it."""
        return WeightsFile(self.weights, self.weights_key, tuple(self.rename or ()))
