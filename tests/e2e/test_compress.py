"""compress as a whole, on a tiny generator: budget, artifact, resume, interruption, mistakes."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

import gan_slimming as gs
from gan_slimming.config import Budget, Memory, Objective, Optimisation, Run
from gan_slimming.graph.fusion import missing_for_fusion
from gan_slimming.models.registry import build_generator
from gan_slimming.serialization.run_folder import RunFolder

STEPS = 14


@pytest.fixture
def teacher() -> nn.Module:
    torch.manual_seed(1)
    return build_generator("cartoongan", width=8, blocks=2)


def settings(**changes: object) -> Run:
    values: dict[str, object] = {
        "budget": Budget(macs=0.3),
        "objective": Objective(distill="encoder", adversarial="lsgan"),
        "optimisation": Optimisation(
            steps=STEPS, slim_share=0.5, batch_size=2, discriminator_width=4, replay=3
        ),
        "size": 32,
        "holdout": 2,
        "precision": "32-true",
        "device": "cpu",
        "threads": 1,
        "compile": "off",
    }
    return Run(**(values | changes))  # pyright: ignore[reportArgumentType]


def steps_logged(folder: Path) -> list[int]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return gs.load_generator_file(folder / "generator.safetensors").state_dict()


def test_the_budget_is_met_and_the_file_is_what_was_trained(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    done = gs.compress(teacher, photos, tmp_path / "run", settings())
    summary = done.summary
    share = summary["macs"] / summary["teacher_macs"]
    assert 0.27 < share <= 0.3
    loaded = gs.load_generator_file(summary["generator"])
    image = torch.rand(1, 3, 36, 44) * 2 - 1
    with torch.no_grad():
        assert torch.equal(loaded(image), done.generator(image))
    assert Path(summary["generator"]).stat().st_size == summary["size_bytes"]
    assert steps_logged(tmp_path / "run") == list(range(1, STEPS + 1))
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 2
    assert RunFolder(tmp_path / "run").read_config()[0] == settings()


def test_rounded_outputs_are_trained_and_run_from_bytes_to_bytes(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    runtimes = pytest.importorskip("gan_slimming.runtime.sessions")
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")
    from gan_slimming.runtime.profiling import float_kernels, layer_times

    done = gs.compress(teacher, photos, tmp_path / "run", settings(quantize_outputs=True))
    loaded = gs.load_generator_file(done.summary["generator"])
    gs.export(loaded, tmp_path / "g.onnx", quantization="integer")
    opened = runtimes.open_runtime(tmp_path / "g.onnx", threads=1, profile=True)
    image = torch.rand(1, 3, 36, 44) * 2 - 1
    with torch.no_grad():
        assert abs(opened(image.numpy()) - loaded(image).numpy()).mean() < 0.02
    layers = layer_times(opened.native)
    kinds = [layer["kind"] for layer in layers]
    assert float_kernels(opened.native, layers) == []
    rounding: list[Any] = [
        layer for layer in loaded.modules() if getattr(layer, "output_quantizer", None) is not None
    ]
    rows = sum(layer.stride[0] if layer.transposed else 1 for layer in rounding)
    assert kinds.count("QLinearConv") == rows  # a transposed one is one for each row of its cells
    assert kinds.count("ConvInteger") == 1


@pytest.mark.parametrize(
    ("stop_at", "optimizer", "compile"),
    [(3, "adam", "off"), (10, "adam", "off"), (4, "muon", "off"), (10, "muon", "on")],
)
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    teacher: nn.Module,
    photos: Path,
    tmp_path: Path,
    stop_at: int,
    optimizer: Literal["adam", "muon"],
    compile: Literal["off", "on"],
) -> None:
    if compile == "on" and (missing := missing_for_fusion()):
        pytest.skip(f"no C++ compiler works here: {missing}")
    optimisation = replace(settings().optimisation, optimizer=optimizer)
    run = settings(optimisation=optimisation, compile=compile)
    gs.compress(teacher, photos, tmp_path / "whole", run)

    def interrupt(step: int, total: int, terms: dict[str, float]) -> None:
        if step == stop_at:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(gs.Interrupted):
        gs.compress(teacher, photos, tmp_path / "parts", run, on_step=interrupt)
    gs.compress(teacher, photos, tmp_path / "parts", run, resume=True)
    whole, parts = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(tensor, parts[name]), name
    assert steps_logged(tmp_path / "parts") == list(range(1, STEPS + 1))
    gates = [
        [
            json.loads(line) | {"seconds": 0}
            for line in (tmp_path / run / "gates.jsonl").read_text().splitlines()
        ]
        for run in ("whole", "parts")
    ]
    assert gates[0] == gates[1]
    assert gates[0]
    distances = [(tmp_path / run / "held_out.jsonl").read_text() for run in ("whole", "parts")]
    assert distances[0] == distances[1]


def test_streamed_images_and_answers_on_disk_change_nothing_in_a_resumed_run(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    short = replace(settings().optimisation, steps=6)
    run = settings(optimisation=short)
    gs.compress(teacher, photos, tmp_path / "whole", run)
    memory = Memory(images=3 * 32 * 32 * 2, answers="1M", answers_on="disk")
    run = replace(run, memory=memory, workers=3)

    def interrupt(step: int, total: int, terms: dict[str, float]) -> None:
        if step == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(gs.Interrupted):
        gs.compress(teacher, photos, tmp_path / "parts", run, on_step=interrupt)
    gs.compress(teacher, photos, tmp_path / "parts", run, resume=True)
    whole, parts = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    for name, tensor in whole.items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(tensor, parts[name]), name
    assert RunFolder(tmp_path / "parts").read_config()[0] == run


def test_the_paper_objective_with_rho_and_without_a_budget(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    run = settings(
        budget=Budget(),
        objective=Objective(distill="l1", adversarial="lsgan", rho=8.0),
        optimisation=Optimisation(
            steps=STEPS, slim_share=0.5, batch_size=2, gate_start="saliency", ema=0.0, floor=0.0
        ),
        activation_range=4.0,
    )
    summary = gs.compress(teacher, photos, tmp_path / "run", run).summary
    assert summary["macs"] < 0.95 * summary["teacher_macs"]


def test_without_budget_nothing_is_pruned_but_all_is_quantised(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    summary = gs.compress(teacher, photos, tmp_path / "run", settings(budget=Budget())).summary
    assert summary["macs"] == summary["teacher_macs"]
    assert summary["size_bytes"] < summary["teacher_size_bytes"] / 2


def test_an_existing_folder_is_not_touched(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "run" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(gs.UserError, match=r"not overwritten|exists and is not empty"):
            gs.compress(teacher, photos, tmp_path / "run", settings(), overwrite=overwrite)
    assert precious.read_text() == "mine"


def test_an_impossible_budget_is_refused_before_anything_is_made(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(gs.UserError, match=r"cannot be met.*at least"):
        gs.compress(teacher, photos, tmp_path / "run", settings(budget=Budget(macs=0.001)))
    assert not (tmp_path / "run").exists()


def test_half_of_the_steps_at_half_the_size_and_resume_across_the_change(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    run = settings(
        size=128,
        optimisation=Optimisation(
            steps=6, slim_share=0.5, half_size_share=0.7, batch_size=1, discriminator_width=4
        ),
    )
    gs.compress(teacher, photos, tmp_path / "whole", run)

    def interrupt(step: int, total: int, terms: dict[str, float]) -> None:
        if step == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(gs.Interrupted, match=r"stopped after step 4 of 6.*--resume"):
        gs.compress(teacher, photos, tmp_path / "parts", run, on_step=interrupt)
    gs.compress(teacher, photos, tmp_path / "parts", run, resume=True)
    whole, parts = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    for name, tensor in whole.items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(tensor, parts[name]), name


@pytest.mark.parametrize("game", ["hinge", "minimax"])
def test_other_games_and_real_targets(
    teacher: nn.Module, photos: Path, tmp_path: Path, game: Any
) -> None:
    run = settings(objective=Objective(distill="l1", adversarial=game))
    summary = gs.compress(teacher, photos, tmp_path / "run", run, targets=photos).summary
    assert summary["protocol"]["images"] == 2


def test_resume_with_another_size_of_set_is_refused(
    teacher: nn.Module, photos: Path, tmp_path: Path
) -> None:
    gs.compress(teacher, photos, tmp_path / "run", settings())
    with pytest.raises(gs.UserError, match="is no run folder"):
        gs.compress(teacher, photos, tmp_path / "other", settings(), resume=True)
