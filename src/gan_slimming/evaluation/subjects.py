"""The subjects of an evaluation: generators, and folders of images that a model made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import WeightsFile
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.padding import CropBox, crop_back, pad_to_multiple
from gan_slimming.errors import UserError, one_line
from gan_slimming.evaluation.images import ImageFolder, open_images
from gan_slimming.export.placement import ExportedGenerator, is_exported, model_name, place
from gan_slimming.models import load_generator
from gan_slimming.serialization.provenance import fingerprint
from gan_slimming.serialization.resolve import model_file, takes_weights
from gan_slimming.serialization.run_folder import RunFolder


@dataclass(frozen=True)
class Origin:
    """Settings for loading models, beyond their names."""

    device: str = "auto"
    """auto, cpu, cuda or mps."""
    runtime: str | None = None
    """torch, onnxruntime or openvino; None for torch, or an exported file's own runtime."""
    threads: int | None = None
    """CPU threads of the runtimes."""
    weights: str | Path | WeightsFile | None = None
    """Weights for a name, instead of :WEIGHTS, or what to take of these."""
    factory: str | None = None
    """package.module:factory of a saved generator that is not registered."""
    arguments: Mapping[str, Any] | None = None
    """Keyword arguments of a factory."""
    shared: bool = False
    """Whether weights and arguments are for those of several models that are names, and not for
    saved generators beside them."""

    def among(self, models: Sequence[object]) -> Origin:
        """Return the origin for several models; if none is a name, each refuses what it has."""
        return replace(self, shared=any(_is_name(model) for model in models))

    def of(self, model: object) -> Origin:
        """Return the origin of one of these models."""
        if self.shared and not _is_name(model):
            return replace(self, weights=None, arguments=None)
        return self


def _is_name(model: object) -> bool:
    return not is_exported(model) and takes_weights(model)


@dataclass(frozen=True)
class Subject:
    """A generator or a folder of images, with an image for every item."""

    name: str
    """The user's name for it."""
    generator: GeneratorAdapter | None = None
    """Generator from inputs to RGB in [-1, 1]; None for a folder of images."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Device of the generator."""
    folder: ImageFolder | None = None
    """Folder of finished images; None for a generator."""
    file: Path | None = None
    """File of the generator; its bytes are the model's size."""
    run: Path | None = None
    """The run folder, if MODEL names one."""
    source: str | Path | None = None
    """Name by which another process loads the generator again; None for a module."""

    @property
    def takes_noise(self) -> bool:
        """Return whether the inputs are noise."""
        return self.generator is not None and self.generator.contract.latent_size > 0

    @property
    def takes_signals(self) -> bool:
        """Return whether the inputs are signals, and the outputs waveforms."""
        return self.generator is not None and self.generator.contract.signal

    @property
    def module(self) -> nn.Module | None:
        """Return the torch generator; None for folders and exported files."""
        inner = None if self.generator is None else self.generator.generator
        return None if isinstance(inner, ExportedGenerator) else inner


def open_subject(model: str | Path | nn.Module, origin: Origin) -> Subject:
    """Return the subject that MODEL names, ready to make images.

    Raises:
        UserError: there is no such model, or its run folder is unfinished or has lost its model.
    """
    if isinstance(model, nn.Module):
        return _generator(model, str(model_name(model)), origin)
    path = Path(model)
    if path.is_dir():
        run = RunFolder(path)
        if run.config.is_file() and not run.summary.is_file():
            raise UserError(
                f"{path} is a run that is still being written, or was interrupted; wait for it, or "
                f"finish it with compress --output {path} --resume"
            )
        if not run.generator.is_file():
            if run.config.is_file():  # its samples are strips of several images
                raise UserError(
                    f"{path} is a run folder that lacks {run.generator.name}; put a copy back, or "
                    "name a folder of images"
                )
            return Subject(str(model), folder=open_images(path))
        subject = _generator(model, str(model), origin)
        return replace(subject, run=path if run.config.is_file() else None)
    return _generator(model, str(model), origin)


def _generator(model: str | Path | nn.Module, name: str, origin: Origin) -> Subject:
    origin = origin.of(model)
    generator, device = place(
        model,
        origin.device,
        origin.runtime,
        origin.threads,
        origin.weights,
        origin.factory,
        origin.arguments,
    )
    file = None
    if is_exported(model):
        file = Path(str(model))
    elif not isinstance(model, nn.Module):
        file = model_file(model) or (Path(origin.weights) if origin.weights else None)
    source = None if isinstance(model, nn.Module) else model
    return Subject(name, generator=generator, device=device, file=file, source=source)


def teacher_of(subject: Subject, origin: Origin) -> Subject | None:
    """Return the teacher of a run folder; None for anything else.

    Raises:
        UserError: the teacher is gone, has changed, or is code that the run cannot import.
    """
    if subject.run is None:
        return None
    told = RunFolder(subject.run).read_config()[1]["generator"]
    name, weights = told["name"], told["weights"]
    if ":" in name and origin.factory != name:
        raise UserError(
            f"the teacher of {subject.run} is code of your own, and a file alone imports nothing; "
            f"add --teacher {name}" + (f":{weights}" if weights else "")
        )
    if weights and not Path(weights).is_file():
        raise UserError(
            f"the teacher of {subject.run} was read from {weights}, which is gone; give --teacher"
        )
    file = WeightsFile(weights, told.get("weights_key"), tuple(told.get("rename") or ()))
    module = load_generator(name, file, **told["arguments"])
    if fingerprint(module) != told["sha256"]:
        came = weights or "its factory's weights"
        raise UserError(f"{subject.run} had another teacher than {came} holds now; give --teacher")
    label = f"{name}:{weights}" if weights else name
    return _generator(module, label, replace(origin, runtime=None))


@torch.inference_mode()
def generate(subject: Subject, inputs: Inputs) -> Tensor:
    """Return a generator's images (batch, 3, height, width), rounded to 8 bits, RGB in [-1, 1].

    Rounding gives a model and a folder of its images the same figures. Waveforms are clipped alone.
    Inputs are padded to a size
    that the generator takes, and outputs are cropped back.

    Args:
        subject: a subject with a generator.
        inputs: (images in [-1, 1], and further inputs, if they are known), or latents, with classes
            if the generator takes any.
    Raises:
        UserError: the generator refuses the inputs, runs out of memory, or makes NaN.
    """
    generator = subject.generator
    assert generator is not None
    if isinstance(generator.generator, ExportedGenerator) and len(inputs[0]) > 1:
        single = [
            generate(subject, tuple(x[i : i + 1] for x in inputs)) for i in range(len(inputs[0]))
        ]
        return torch.cat(single)
    placed = tuple(x.to(subject.device) for x in inputs)
    contract, box = generator.contract, None
    if not (contract.latent_size or contract.signal):
        least = contract.min_size
        _, box = pad_to_multiple(placed[0], contract.multiple_of, least)
        placed = tuple(
            pad_to_multiple(x, contract.multiple_of, least)[0] if x.dim() == 4 else x
            for x in placed
        )
    try:
        made = generator(*placed).float()
    except (RuntimeError, MemoryError, ValueError, IndexError) as error:
        went = " and ".join("x".join(map(str, x.shape[1:])) for x in inputs)
        reason = one_line(error)[:200]
        raise UserError(
            f"{subject.name} cannot make images of {went} ({reason}); take a smaller --size or "
            "--batch-size, or mend its InputContract"
        ) from error
    if box is not None:
        made = crop_back(made, CropBox(contract.scale * box.height, contract.scale * box.width))
    if made.isnan().any():
        raise UserError(f"{subject.name} makes values that are not numbers (NaN)")
    if contract.signal:
        return made.clamp(-1, 1)
    return ((made.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
