"""compress on generators that take noise, or give larger images than they take."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import gan_slimming as gs
from gan_slimming.config import Budget, Objective, Optimisation, Run
from gan_slimming.data.latents import LatentSet
from gan_slimming.models import build_generator, load_discriminator, spec_of
from gan_slimming.pruning.groups import macs_left
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.student.student import prepare

RUN = Run(
    budget=Budget(macs=0.5),
    objective=Objective(distill="l1", adversarial="lsgan"),
    optimisation=Optimisation(
        steps=8, slim_share=0.5, batch_size=4, discriminator_width=2, replay=3
    ),
    holdout=3,
    latents=10,
    size=32,
    device="cpu",
    precision="32-true",
    threads=1,
)


@pytest.fixture(autouse=True)
def own_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1])


def weights_of(folder: Path, factory: str) -> dict[str, torch.Tensor]:
    file = folder / "generator.safetensors"
    return gs.load_generator_file(file, factory=factory).state_dict()


def assert_resumes(
    teacher: nn.Module, data: Path | None, folder: Path, stop_at: int, **more: object
) -> None:
    """An interrupted and resumed run equals the uninterrupted one bit for bit."""

    def interrupt(step: int, total: int, terms: dict[str, float]) -> None:
        if step == stop_at:
            signal.raise_signal(signal.SIGINT)

    gs.compress(teacher, data, folder / "whole", RUN, **more)  # pyright: ignore
    with pytest.raises(gs.Interrupted):
        gs.compress(teacher, data, folder / "parts", RUN, on_step=interrupt, **more)  # pyright: ignore
    gs.compress(teacher, data, folder / "parts", RUN, resume=True, **more)  # pyright: ignore
    name = spec_of(teacher).name
    whole, parts = (weights_of(folder / part, name) for part in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for key, tensor in whole.items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(tensor, parts[key]), key
    logs = [(folder / part / "metrics.jsonl").read_text() for part in ("whole", "parts")]
    terms = [[json.loads(line) | {"seconds": 0} for line in log.splitlines()] for log in logs]
    assert terms[0] == terms[1]


@pytest.mark.parametrize("stop_at", [2, 6])
def test_noise_without_any_image_resumes_bit_for_bit(tmp_path: Path, stop_at: int) -> None:
    teacher = build_generator("own_nets:noise")
    assert_resumes(teacher, None, tmp_path, stop_at)
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert summary["macs"] <= 0.5 * summary["teacher_macs"]
    assert summary["size"] == 16
    assert summary["protocol"]["images"] == 3
    assert summary["protocol"]["from"] == "noise that training never saw"
    with Image.open(tmp_path / "whole" / "samples" / "00_teacher_student.png") as row:
        assert row.size == (32, 16)
    record = RunFolder(tmp_path / "whole").read_config()[1]
    assert record["data"] is None
    assert record["discriminator"] is None


def test_classes_and_the_dense_gans_discriminator(tmp_path: Path, photos: Path) -> None:
    teacher = build_generator("own_nets:noise", classes=3)
    played = load_discriminator("sngan", width=4)
    before = [p.clone() for p in played.parameters()]
    assert_resumes(teacher, photos, tmp_path, 6, discriminator=played)
    assert all(torch.equal(a, b) for a, b in zip(before, played.parameters(), strict=True))
    log = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line)["discriminator"] > 0 for line in log)


def test_what_is_handed_out_has_batch_statistics_of_its_own(tmp_path: Path) -> None:
    """The known-wrong variant leaves the average's norms with the trained student's statistics."""
    teacher = build_generator("own_nets:noise")
    made = gs.compress(teacher, None, tmp_path / "run", RUN, latents=8).generator
    student = made.eval()
    shown: list[torch.Tensor] = []
    norm = next(m for n, m in student.named_modules() if n == "blocks.0")
    norm.register_forward_pre_hook(lambda module, inputs: shown.append(inputs[0]))
    with torch.no_grad():  # the batches that statistics are taken from go through the set in wholes
        student(*LatentSet(8, 6, seed=RUN.seed).batch(torch.arange(8)))
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, shown[0].mean((0, 2, 3)), rtol=0, atol=1e-5)


def test_super_resolution_with_targets(tmp_path: Path, photos: Path) -> None:
    teacher = build_generator("own_nets:double")
    assert_resumes(teacher, photos, tmp_path, 6, targets=photos)
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert summary["macs"] <= 0.5 * summary["teacher_macs"]
    assert summary["size"] == 32
    with Image.open(tmp_path / "whole" / "samples" / "00_input_teacher_student.png") as row:
        assert row.size == (192, 64)


def test_what_cannot_go_together_is_refused(tmp_path: Path, photos: Path) -> None:
    noise = build_generator("own_nets:noise")
    out = tmp_path / "run"
    with pytest.raises(gs.UserError, match="one folder to name, that of real images"):
        gs.compress(noise, photos, out, RUN, targets=photos)
    with pytest.raises(gs.UserError, match="has no encoder of these; take --distill lpips"):
        gs.compress(noise, None, out, RUN, objective=Objective(distill="encoder"))
    with pytest.raises(gs.UserError, match="name the images to train on: --data"):
        gs.compress(build_generator("own_nets:double"), None, out, RUN)
    wrong = nn.Conv2d(1, 1, 1)
    with pytest.raises(gs.UserError, match="discriminator does not take images of 16x16"):
        gs.compress(noise, None, out, RUN, discriminator=wrong)
    small = replace(RUN, optimisation=replace(RUN.optimisation, batch_size=None, steps=2))
    assert not out.exists()
    gs.compress(noise, None, out, small)
    assert RunFolder(out).read_config()[0].optimisation.batch_size == 16


def test_a_budget_knows_what_attention_costs(photos: Path, tmp_path: Path) -> None:
    """Its products are work that no weight does; the budget holds for all of the work."""
    torch.manual_seed(0)
    teacher = Attentive()
    done = gs.compress(teacher, photos, tmp_path / "run", RUN, budget=Budget(macs=0.7))
    share = done.summary["macs"] / done.summary["teacher_macs"]
    assert share <= 0.7
    whole = prepare(teacher, (torch.zeros(1, 3, 32, 32),), bits=None).graph
    assert done.summary["teacher_macs"] == macs_left(whole, {}) + 2 * 64 * 64 * 4  # two products


class Attentive(nn.Module):
    """Self-attention at a quarter of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.query, self.key, self.value = (nn.Conv2d(8, 4, 1) for _ in range(3))
        self.back = nn.Conv2d(4, 8, 1)
        self.up = nn.ConvTranspose2d(8, 3, 4, stride=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.down(x))
        q, k, v = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        mixed = v @ torch.softmax(q.transpose(1, 2) @ k, dim=-1).transpose(1, 2)
        return torch.tanh(self.up(x + self.back(mixed.reshape(len(x), -1, *x.shape[2:]))))
