"""Datasets and CSV files of the user's own, through every command that takes inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan_slimming import compress
from gan_slimming.cli import main
from gan_slimming.config import Budget, Objective, Optimisation
from gan_slimming.errors import UserError
from gan_slimming.models import load_generator
from gan_slimming.perceptual import lpips

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::gan_slimming.{name}")
    for name in ("serialization.resolve.RandomWeightsWarning",
                 "evaluation.choice.EvaluationWarning")
]  # fmt: skip
Capture = pytest.CaptureFixture[str]
TESTS = Path(__file__).parents[1]
QUICK = [
    "--budget.macs", "0.5", "--steps", "2", "--batch-size", "2", "--holdout", "2", "--size", "32",
    "--device", "cpu", "--precision", "32-true", "--threads", "1", "--distill", "l1",
    "--optimisation.slim_share", "0.5",
]  # fmt: skip
DOUBLE = ["--generator", "own_nets:double"]


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder from which own_nets and own_data can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(TESTS)
    monkeypatch.setattr(lpips, "find_weights", lambda name: None)


def ok(capsys: Capture, *words: str) -> dict[str, Any]:
    assert main(list(words)) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(capsys: Capture, *words: str) -> str:
    assert main(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_a_dataset_goes_through_compress_evaluate_and_translate(capsys: Capture) -> None:
    Path("run.yaml").write_text("dataset: own_data:photos\n")
    found = ok(capsys, "compress", *DOUBLE, "--config", "run.yaml", "--output", "run", *QUICK)
    assert found["protocol"]["resize"] == "as the dataset makes them"
    assert found["protocol"]["images"] == 2
    assert "item" in Path("run/held_out.jsonl").read_text()
    own = ["--dataset", "own_data:photos", *DOUBLE]
    report = ok(capsys, "evaluate", "run", *own, "--teacher", "own_nets:double", "--metrics", "l1")
    (row,) = report["results"]
    assert row["images"] == 6
    assert row["protocol"]["data"] == "dataset Photos"
    assert report["models"][0]["size"] == [32, 32]
    drawn = ok(capsys, "translate", "run", *own, "--output", "out")
    assert drawn["translated"] == 6
    with Image.open("out/00005.png") as image:
        assert image.size == (64, 64)
    assert "00000.png exists already" in refused(
        capsys, "translate", "run", *own, "--output", "out"
    )
    both = ["translate", "run", "x.png", *own, "--output", "out"]
    assert "name images or a --dataset" in refused(capsys, *both)
    both = ["evaluate", "run", *own, "--data", "photos"]
    assert "name --data or --dataset, not both" in refused(capsys, *both)
    both = ["compress", *own, "--data", "photos", "--output", "other", *QUICK]
    assert "name --data or --dataset, not both" in refused(capsys, *both)
    assert not Path("other").exists()


def test_a_run_goes_on_with_the_same_dataset_alone(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_slimming.training import train

    with monkeypatch.context() as patch:
        patch.setattr(train.Trainer, "finish", lambda self: 1 / 0)  # dies after the last step
        line = ["compress", *DOUBLE, "--dataset", "own_data:photos", "--output", "run", *QUICK]
        assert main(line) == 1
    capsys.readouterr()
    resume = ["compress", "--resume", "--output", "run", *DOUBLE]
    assert "imports nothing; add --dataset own_data:photos" in refused(capsys, *resume)
    resume += ["--dataset", "own_data:photos"]
    monkeypatch.setenv("OWN_DATA", "changed")
    assert "not those it began with: item 0 has changed, item 1 has" in refused(capsys, *resume)
    monkeypatch.delenv("OWN_DATA")
    with monkeypatch.context() as patch:
        patch.setattr("own_data.Photos.count", 7)
        assert "number of items has changed" in refused(capsys, *resume)
    assert ok(capsys, *resume)["steps"] == 2


def test_noise_of_a_dataset_is_drawn(capsys: Capture) -> None:
    named = ["own_nets:noise", "--generator-args", '{"width": 4, "classes": 3}']
    data = ["--dataset", "own_data:latents"]
    found = ok(capsys, "sample", *named, *data, "--output", "grid.png", "--separate", "single")
    assert found["count"] == 6
    assert len(list(Path("single").iterdir())) == 6
    few = ok(capsys, "sample", *named, *data, "--output", "few.png", "--count", "2")
    assert few["count"] == 2
    plain = "own_nets:noise"
    arguments = ["--generator-args", '{"width": 4}']
    said = refused(capsys, "sample", plain, *arguments, *data, "--output", "no.png")
    assert "item 0 of the dataset has 2 part(s), the generator takes z" in said


def test_in_python_a_dataset_stands_for_the_folder() -> None:
    import own_data  # pyright: ignore

    settings = {
        "budget": Budget(macs=0.5), "size": 32, "device": "cpu",
        "optimisation": Optimisation(steps=2), "objective": Objective(distill="l1"),
    }  # fmt: skip
    teacher = load_generator("own_nets:double")
    made = compress(teacher, own_data.Photos(), "run", **settings)
    assert made.summary["protocol"]["images"] == 1
    with pytest.raises(UserError, match="map-style dataset with __len__ and __getitem__; got int"):
        compress(teacher, 3, "other", **settings)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def listed() -> str:
    """Five lines, of which the last takes the first one's image once more."""
    random = np.random.default_rng(0)
    lines = ["input,class,mask"]
    for number, sides in enumerate([(36, 30), (36, 30), (33, 42), (34, 38)]):
        Path("photos").mkdir(exist_ok=True)
        photo = random.integers(0, 256, (*sides, 3), dtype=np.uint8)
        Image.fromarray(photo).save(f"photos/{number}.png")
        mask = np.zeros(sides, np.uint8)
        mask[:12] = 255
        Image.fromarray(mask).save(f"mask{number}.png")
        lines.append(f"photos/{number}.png,{number % 3},mask{number}.png")
    Path("pairs.csv").write_text("\n".join([*lines, "photos/0.png,2,mask0.png"]))
    return "pairs.csv"


def test_evaluate_and_translate_take_the_csv_of_compress(capsys: Capture, listed: str) -> None:
    own = ["--generator", "own_data:filled"]
    ok(capsys, "compress", *own, "--data", listed, "--output", "run", *QUICK)
    line = ["evaluate", "run", *own, "--teacher", "own_data:filled", "--metrics", "l1"]
    assert ok(capsys, *line, "--data", listed)["results"][0]["images"] == 5
    assert ok(capsys, *line, "--data", listed, "--size", "32")["models"][0]["size"] == [32, 32]
    drawn = ok(capsys, "translate", "run", listed, *own, "--output", "out")
    assert drawn["translated"] == 5
    names = sorted(path.name for path in Path("out/photos").iterdir())
    assert names == ["0-2.png", "0.png", "1.png", "2.png", "3.png"]
    with Image.open("out/photos/2.png") as image:
        assert image.size == (42, 33)
    first, again = (np.asarray(Image.open(f"out/photos/{n}.png")) for n in ("0", "0-2"))
    assert not np.array_equal(first, again)  # another class
    judged = ["evaluate", "out", *own, "--teacher", "run", "--metrics", "l1", "--data", listed]
    assert ok(capsys, *judged)["results"][0]["value"] == pytest.approx(0, abs=1e-6)


def test_a_csv_that_does_not_fit_is_refused(capsys: Capture, listed: str) -> None:
    own = ["--generator", "own_data:filled"]
    named = ["own_data:filled"]
    for text, said in (
        ("input,class,mask\nphotos/0.png,3,mask0.png\nphotos/1.png,0,mask1.png", "must be 0 to 2"),
        ("input,class\nphotos/0.png,1\nphotos/1.png,1", "has no column mask_2"),
        ("input,class,mask\nphotos/0.png,1,x.png\nphotos/1.png,0,mask1.png", "no mask_2 x.png"),
    ):
        Path(listed).write_text(text)
        assert said in refused(capsys, "translate", *named, listed, "--output", "out")
        line = ["evaluate", *named, "--teacher", *named, "--data", listed, *own]
        assert said in refused(capsys, *line)
        assert not Path("out").exists()
