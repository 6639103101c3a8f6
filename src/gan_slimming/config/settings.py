"""All settings of a run, checked when they are made. Imports no torch, so that --help is quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gan_slimming.config.bits import bits_of_weights
from gan_slimming.config.checks import MOST_THREADS, check, check_finite, check_numbers
from gan_slimming.config.exports import check_exports
from gan_slimming.config.goals import Budget, Target
from gan_slimming.config.memory import WHOLE_FOLDERS, Memory
from gan_slimming.config.objective import Objective
from gan_slimming.config.old_names import RENAMED
from gan_slimming.config.optimisation import Optimisation
from gan_slimming.errors import UserError

LONG_MINUTES, LONG_STEPS = 5, 2000
"""Length of a run from which on what takes half a minute to start may pay."""


@dataclass(frozen=True)
class Run:
    """All settings of a run; the teacher and the images are its other inputs."""

    budget: Budget = field(default_factory=Budget)
    objective: Objective = field(default_factory=Objective)
    optimisation: Optimisation = field(default_factory=Optimisation)
    bits: int | None = 8
    """Bits per activation and per weight, 2 to 8; none for no quantisation. Weights get at most 7
    unless --weight-bits is given."""
    weight_bits: int | None = None
    """Bits per weight, 2 to 8. Default: --bits, but at most 7, because int8 kernels are then exact
    on every CPU. 8 needs a CPU with VNNI, AMX or dot products."""
    activation_range: float | None = None
    """Upper end p of one fixed range [0, p] for all activations, such as the paper's 4. Default:
    each range is calibrated, then learnt."""
    quantize_outputs: bool = False
    """Round the outputs of all convolutions but the last, too. ONNX Runtime, and any runtime that
    passes bytes from layer to layer, is fast in int8 only then. Works best on a finished student,
    given with --student."""
    size: int = 256
    """Height and width of the training images in pixels, or length of the training signals in
    frames. A generator that takes noise sets its own."""
    latents: int = 10_000
    """Number of noise vectors to train on, where the generator takes noise."""
    holdout: int | None = None
    """Number of images or noise vectors held out of training, to track quality. Default: 16, or a
    fifth of the images where that is less."""
    device: str = "auto"
    """auto, cpu, cuda or mps; auto takes a GPU where there is one."""
    precision: str = "auto"
    """auto, 32-true (float32) or bf16-mixed; auto takes bf16 where both the machine and the
    generator support it."""
    threads: int | None = None
    """Number of CPU threads, such as 4. Default: one or all, whichever runs faster."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether torch.compile fuses the operators of fake quantisation and of the distance, so that
    steps take less time. It needs a C++ compiler such as g++, and half a minute to start. auto
    compiles on a CPU, in runs of at least 5 minutes or 2000 steps."""
    seed: int = 0
    """Seed of all random numbers, 0 to 2^62."""
    memory: Memory = field(default_factory=Memory)
    workers: int = 2
    """Number of threads that decode images, such as 8 for a fast GPU; 0 decodes each image where it
    is drawn."""
    checkpoint_seconds: float = 240.0
    """Time between two checkpoints in seconds, such as 60: what a crash can cost."""
    target: Target = field(default_factory=Target)
    teacher_mode: Literal["eval", "train"] = "eval"
    """How the teacher's own script runs it. train is for one that never calls eval(): its batch
    norms take the statistics of each image, and dropout is off."""
    fix_noise: bool = False
    """Keep the noise that the generator draws inside, the same for every image."""
    dropout: Literal["off", "keep"] = "off"
    """How dropout runs that the forward calls with training=True, which eval() does not switch off.
    off leaves it out of teacher, student and files; keep lets each draw at random, and no such file
    can be exported."""
    exports: tuple[str, ...] = ()
    """Files to write at the end, such as onnx,openvino, in int8 for ONNX Runtime and for OpenVINO.
    Whether they can be written is tried before the first step. Default: none."""

    def __post_init__(self) -> None:
        check(self.bits is None or 2 <= self.bits <= 8, "bits", self.bits, "2 to 8, or none")
        w = self.weight_bits
        check(w is None or 2 <= w <= 8, "weight_bits", w, "2 to 8")
        p = self.activation_range
        check(p is None or p > 0, "activation_range", p, "above 0, such as the paper's 4")
        if self.quantize_outputs and self.bits is None:
            raise UserError("quantize_outputs needs bits, such as 8; got none")
        check_finite(self)
        check(self.size >= 32, "size", self.size, "at least 32 pixels")
        check_numbers(size=self.size, threads=self.threads, seed=self.seed)
        check_numbers(latents=self.latents, holdout=self.holdout)
        check(0 <= self.workers <= MOST_THREADS, "workers", self.workers, f"0 to {MOST_THREADS}")
        seconds = self.checkpoint_seconds
        check(seconds >= 0, "checkpoint_seconds", seconds, "0 or more")
        check_exports(self.exports)
        object.__setattr__(self, "exports", tuple(self.exports))  # a file has a list
        rho = self.objective.rho
        given = {"a budget": self.budget.kind, "a target": self.target.kind, "rho": rho}
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            raise UserError(
                f"name a budget, a target or rho, only one of them; got {' and '.join(named)}"
            )

    @property
    def long(self) -> bool:
        """Return whether the run is long enough for what pays after half a minute."""
        minutes, steps = self.optimisation.minutes, self.optimisation.steps
        return minutes >= LONG_MINUTES if minutes is not None else (steps or 0) >= LONG_STEPS

    @property
    def stored_bits(self) -> int | None:
        """Bits per weight in the file; None for float."""
        return self.bits and bits_of_weights(self.bits, self.weight_bits)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Run:
        """Return the settings of a `dataclasses.asdict` record, saved by any version."""
        settings = dict(record)
        optimisation = dict(settings.pop("optimisation"))
        optimisation["betas"] = tuple(optimisation["betas"])
        optimisation.setdefault("optimizer", "adam")  # the only one of version 0.1
        optimisation.setdefault("draws_per_answer", None)
        optimisation.setdefault("block_share", 1.0)  # all stayed
        settings.setdefault("compile", "off")
        # Version 0.1 had neither term.
        objective: dict[str, Any] = {"colour_weight": 0.0, "lattice_weight": 0.0}
        objective |= settings.pop("objective")
        return cls(
            budget=Budget(**settings.pop("budget")),
            target=Target(**settings.pop("target", {})),
            objective=Objective(**{RENAMED.get(k, k): v for k, v in objective.items()}),
            optimisation=Optimisation(**optimisation),
            memory=Memory(**settings.pop("memory", WHOLE_FOLDERS)),
            **settings,
        )
