"""What every teacher's training shares: players, random numbers, and a state that resumes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from gan_slimming.data.sampler import seeded
from gan_slimming.training.divergence import SKIPS, Diverged, read_terms
from gan_slimming.training.optimizers import scale_learning_rates


class Part(Protocol):
    """A part of a game that a checkpoint holds."""

    def state_dict(self) -> Any:
        """Return all that the next step depends on."""
        ...

    def load_state_dict(self, state: Any, /) -> Any:
        """Go on from a state."""
        ...


class Random:
    """Random numbers whose place a checkpoint holds; the same on every device.

    Args:
        name: seeds them, with everything that makes them differ from others.
    """

    def __init__(self, name: str) -> None:
        self.generator = seeded(name)

    def normal(self, *shape: int) -> Tensor:
        """Return normally distributed numbers, on the CPU."""
        return torch.randn(*shape, generator=self.generator)

    def whole(self, below: int, count: int) -> Tensor:
        """Return whole numbers (count,) int64 in [0, below)."""
        return torch.randint(below, (count,), generator=self.generator)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the generator's state."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        self.generator.set_state(state["generator"].cpu())


class Player:
    """One side of a game: networks that one Adam trains together.

    Args:
        networks: by their names; they are moved to the device, and into training mode.
        lr, betas: Adam's.
    """

    def __init__(
        self,
        fabric: Fabric,
        networks: Mapping[str, nn.Module],
        lr: float,
        betas: tuple[float, float],
    ) -> None:
        self.fabric = fabric
        self.networks = nn.ModuleDict(networks).to(fabric.device).train()
        if fabric.device.type != "mps":  # wide convolutions are faster so
            self.networks.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = torch.optim.Adam(self.networks.parameters(), lr=lr, betas=betas)
        self.skipped = 0

    def set_rate(self, factor: float) -> None:
        """Set the learning rate to `factor` times the player's."""
        scale_learning_rates([self.optimizer], factor)

    def step(self, loss: Tensor) -> float:
        """Take one step down a loss; return it.

        Raises:
            Diverged: loss or gradients are not finite, three times in a row.
        """
        self.fabric.backward(loss)
        terms, finite = read_terms({"loss": loss}, self.networks.parameters())
        if finite:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.skipped = 0 if finite else self.skipped + 1
        if self.skipped >= SKIPS:
            raise Diverged("training diverged: the loss is no longer finite; take a lower --lr")
        return terms["loss"]

    def state_dict(self) -> dict[str, Any]:
        """Return networks and optimiser."""
        return {
            "networks": self.networks.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])


class Game(ABC):
    """The training of one teacher: what a step does, and what is left of it at the end."""

    parts: dict[str, Part]
    """What a checkpoint holds, by name; players among them."""

    @abstractmethod
    def step(self, taken: int) -> dict[str, float]:
        """Take one step of the players; return its terms.

        Args:
            taken: number of steps before it.
        """

    @abstractmethod
    def samples(self) -> Tensor:
        """Return images (count, 3, height, width) in [-1, 1], of the same inputs every time."""

    @abstractmethod
    def generators(self) -> dict[str, nn.Module]:
        """Return the trained generators by the names of their files, in evaluation mode."""

    @abstractmethod
    def discriminators(self) -> dict[str, nn.Module]:
        """Return the discriminators by the names of their files."""

    def players(self) -> Iterable[Player]:
        """Return the players among the parts."""
        return (part for part in self.parts.values() if isinstance(part, Player))

    def set_rate(self, factor: float) -> None:
        """Set all learning rates to `factor` times their own."""
        for player in self.players():
            player.set_rate(factor)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def linear_decay(share: float, start: float) -> float:
    """Return the factor on a learning rate after a share of the run, both in [0, 1].

    1 up to `start`, then on a straight line to 0 at the end.
    """
    return 1.0 if share <= start else (1 - share) / (1 - start)
