"""The folder of a teacher's training: a run folder with other settings and more networks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from gan_slimming.config.teacher import TeacherSettings
from gan_slimming.data.files import write_atomically
from gan_slimming.data.plain_yaml import read_yaml
from gan_slimming.errors import UserError
from gan_slimming.models import spec_of
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.serialization.run_record import reason_of

NETWORKS = ("teacher", "teacher_back", "discriminator", "discriminator_back")
"""Names of the .safetensors files of plain weights; _back is CycleGAN's second direction."""


class TeacherFolder(RunFolder):
    """The files of a teacher's training.

    teacher.yaml holds its settings. generator.safetensors is a MODEL for every command, and
    teacher.safetensors the same as plain weights, for --weights and other tools.

    Args:
        path: the folder, which need not exist.
    """

    def __init__(self, path: str | Path):
        super().__init__(path)
        self.config = self.path / "teacher.yaml"
        self.networks = {name: self.path / f"{name}.safetensors" for name in NETWORKS}

    def known(self) -> list[Path]:
        """Return the files and folders that a training makes, as far as they exist."""
        own = [path for path in self.networks.values() if os.path.lexists(path)]
        return [*own, *super().known()]

    def read_settings(self) -> tuple[TeacherSettings, dict[str, Any]]:
        """Return the settings, and the whole record around them.

        Raises:
            UserError: no folder of a teacher, or a damaged file.
        """
        if not self.config.is_file():
            raise UserError(f"{self} is no teacher's folder: it has no {self.config.name}")
        try:
            record = read_yaml(self.config)
            return TeacherSettings(**record["settings"]), record
        except (KeyError, TypeError, AttributeError, ValueError, UserError) as error:
            raise UserError(
                f"{self.config} cannot be read ({reason_of(error)}); put its copy back, or start "
                "again with --overwrite"
            ) from error

    def write_generator(self, generator: nn.Module, provenance: dict[str, Any]) -> None:
        """Write generator.safetensors."""
        save_generator(generator, self.generator, spec_of(generator), provenance=provenance)

    def write_network(self, name: str, network: nn.Module) -> None:
        """Write the plain weights of a network of NETWORKS."""
        state = {
            key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
        }
        write_atomically(self.networks[name], save(state))
